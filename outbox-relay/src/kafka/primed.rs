use std::time::{Duration, Instant};

use super::flight::Sent;

/// Partitions that know a producer instance: something of it was acknowledged there not long ago.
///
/// A broker checks that an idempotent producer's batches follow each other, except for the first that it
/// sees: that one may begin anywhere. So if the very first batch of an instance is refused (too large,
/// say), the one behind it lands, `enable.gapless.guarantee` or not, and the repaired one comes after it.
/// Therefore the first event of an instance goes to each partition alone.
#[derive(Debug, Default)]
pub(crate) struct Primed(Vec<Vec<Option<Instant>>>);

/// A broker forgets a producer that is idle for `producer.id.expiration.ms`, a day by default.
const REMEMBERED: Duration = Duration::from_secs(600);

impl Primed {
    /// The indices of the events that have to be acknowledged before any other of their partition is sent,
    /// in ascending order. The partitions count as primed from now on.
    pub(crate) fn openers(&mut self, sent: &[Sent]) -> Vec<usize> {
        let now = Instant::now();
        let mut openers = Vec::new();
        for (index, sent) in sent.iter().enumerate().filter(|(_, sent)| !sent.had) {
            let known = self.partition(sent).replace(now);
            if known.is_none_or(|at| now.duration_since(at) > REMEMBERED) {
                openers.push(index);
            }
        }
        openers
    }

    fn partition(&mut self, sent: &Sent) -> &mut Option<Instant> {
        let partition = usize::try_from(sent.partition).unwrap_or(0);
        if self.0.len() <= sent.topic.0 {
            self.0.resize_with(sent.topic.0 + 1, Vec::new);
        }
        let partitions = &mut self.0[sent.topic.0];
        if partitions.len() <= partition {
            partitions.resize(partition + 1, None);
        }
        &mut partitions[partition]
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use saga_core::position::Position;

    use super::*;
    use crate::kafka::topics::TopicId;

    #[test]
    fn the_first_of_each_partition_goes_alone() {
        let sent = |partition| Sent {
            topic: TopicId(0),
            partition,
            position: Position::new(1, 1, 1),
            created_at: DateTime::UNIX_EPOCH,
            bytes: 1,
            had: false,
        };
        let mut primed = Primed::default();
        assert_eq!(primed.openers(&[3, 3, 5, 3, 5, 7].map(sent)), [0, 2, 5]);
        assert_eq!(primed.openers(&[3, 4].map(sent)), [1]);
        let had = |partition| Sent {
            had: true,
            ..sent(partition)
        };
        let mixed = [had(8), sent(8), had(8), sent(8), had(3), sent(3)];
        assert_eq!(primed.openers(&mixed), [1]);
    }
}
