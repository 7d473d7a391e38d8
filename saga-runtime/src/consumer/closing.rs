//! The end of a consumer: its last offsets, and its leave of the group.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::{Offset, TopicPartitionList};

use crate::consumer::worker::Partition;

/// How long the group is given to let this process go.
pub(crate) const LEAVE: Duration = Duration::from_secs(10);

/// Commits the last offsets and leaves the group. librdkafka sets itself no limit for either, and who must end would wait
/// with it. What it has not done `within` this time ends with the process.
pub(crate) fn leave<C: ConsumerContext + 'static>(
    participant: &'static str,
    consumer: BaseConsumer<C>,
    mut offsets: BTreeMap<Partition, i64>,
    within: Duration,
) {
    let (left, has_left) = mpsc::channel();
    let closing = std::thread::Builder::new()
        .name("consumer-close".to_owned())
        .spawn(move || {
            commit(&consumer, &mut offsets, CommitMode::Sync);
            consumer.unsubscribe();
            drop(consumer);
            // Nobody waits any more: then it was told below.
            left.send(()).ok();
        });
    if closing.is_ok() && has_left.recv_timeout(within) == Err(mpsc::RecvTimeoutError::Timeout) {
        tracing::warn!(
            participant,
            waited_s = within.as_secs(),
            "the consumer did not leave its group in time; its partitions are free when its session times out"
        );
    }
}

/// Tells Kafka what was applied, and forgets it.
pub(crate) fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &mut BTreeMap<Partition, i64>,
    mode: CommitMode,
) {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), next) in std::mem::take(offsets) {
        if let Err(error) = list.add_partition_offset(&topic, partition, Offset::Offset(next)) {
            tracing::debug!(%error, "an offset cannot be listed");
        }
    }
    if list.count() > 0
        && let Err(error) = consumer.commit(&list, mode)
    {
        // For people and their tools only: what counts stands in PostgreSQL.
        tracing::debug!(%error, "offsets were not committed to kafka");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rdkafka::config::ClientConfig;

    use super::*;

    #[test]
    fn a_broker_that_does_not_answer_does_not_hold_up_the_end() {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", "127.0.0.1:1")
            .set("group.id", "g")
            .create()
            .expect("a consumer");
        consumer.subscribe(&["t"]).expect("subscribed");
        let begun = Instant::now();
        let offsets = BTreeMap::from([(("t".to_owned(), 0), 7)]);
        leave("p", consumer, offsets, Duration::from_millis(100));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
