//! The topics, streamed: each record is looked at and let go.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use quadrille_process::kafka::KafkaSettings;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use saga_core::audit::{Partition, Sighted, Sighting, digest};
use saga_core::envelope::{CE_ID, CE_PREVIOUSSEQUENCE, CE_REPLAY, CE_SEQUENCE, CE_SOURCE, CE_TYPE};
use saga_core::position::Position;
use uuid::Uuid;

use super::finding::{Class, Finding, Findings};
use super::life::{Events, TOPICS};
use super::moved::Moved;
use super::stretch::Stretch;
use super::tables::{Lives, Slice};
use super::told::{Told, in_order, note};
use crate::failure::{Code, Failure};
use crate::records::{SILENCE_MAX, blocking, consumer, unreachable_broker};

/// What is kept while records are streamed.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) lives: Lives,
    /// Whose order this is about; records of other slices are read for the order of their partitions alone.
    pub(super) slice: Slice,
    partitions: BTreeMap<(usize, i32), Partition>,
    /// Acknowledged events that are of no order, and not found yet: topic and position.
    pub(super) expected: HashSet<(String, u64)>,
    pub(super) tally: Tally,
    /// What is wrong with the partitions.
    pub(super) of_partitions: Findings,
    /// What is wrong with the orders of the slice.
    pub(super) of_orders: Findings,
    /// What is wrong with the order of their events, as far as it was read.
    unsure: Vec<((Uuid, usize), Finding)>,
    moved: Moved,
    /// Of orders that are not known, nothing is noted.
    pub(super) known_only: bool,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Tally {
    /// Events, each once.
    pub(super) events: u64,
    /// Records that say again what was said.
    pub(super) repeated: u64,
    /// Records that no relay of ours wrote.
    pub(super) foreign: u64,
}

/// Streams a stretch through `reading`.
pub(super) async fn read(
    kafka: &KafkaSettings,
    stretch: &Stretch,
    mut reading: Reading,
) -> Result<Reading, Failure> {
    let reader = consumer(kafka)?;
    let brokers = kafka.brokers.clone();
    let stretch = stretch.clone();
    // A reader of its own: what the first has in its queue is not read again.
    let second = consumer(kafka)?;
    blocking(move || {
        stream(&reader, &stretch, &brokers, |topic, message| {
            reading.take(&stretch, topic, message);
        })?;
        if !reading.moved.is_empty() {
            let grown = stretch.of_topics(|topic| reading.moved.is_in(topic));
            stream(&second, &grown, &brokers, |topic, message| {
                reading.take_again(&grown, topic, message);
            })?;
        }
        reading.judge_order(&stretch);
        Ok(reading)
    })
    .await
}

pub(super) fn stream<C: rdkafka::consumer::ConsumerContext>(
    reader: &BaseConsumer<C>,
    stretch: &Stretch,
    brokers: &str,
    mut each: impl FnMut(usize, &BorrowedMessage<'_>),
) -> Result<(), Failure> {
    let failed = |error: KafkaError| unreachable_broker(brokers, &error);
    let mut open: BTreeMap<(usize, i32), i64> = BTreeMap::new();
    let mut assignment = TopicPartitionList::new();
    for ((topic, partition), part) in &stretch.parts {
        if part.begin < part.end {
            open.insert((*topic, *partition), part.end);
            assignment
                .add_partition_offset(&stretch.topics[*topic], *partition, Offset::Offset(part.begin))
                .map_err(failed)?;
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    reader.assign(&assignment).map_err(failed)?;
    let mut heard = Instant::now();
    let mut trouble = None;
    while !open.is_empty() {
        match reader.poll(Duration::from_millis(200)) {
            None if heard.elapsed() > SILENCE_MAX => {
                return Err(trouble.unwrap_or_else(|| {
                    let what = format!("Kafka at {brokers} does not go on sending");
                    Failure::new(Code::Unavailable, what)
                }));
            }
            // The end of a partition is known by its offset.
            None | Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => trouble = Some(failed(error)),
            Some(Ok(message)) => {
                heard = Instant::now();
                let name = message.topic();
                let Some(topic) = stretch.topics.iter().position(|topic| topic == name) else {
                    continue;
                };
                let at = (topic, message.partition());
                let Some(end) = open.get(&at).copied() else {
                    continue;
                };
                if message.offset() < end {
                    each(topic, &message);
                }
                if message.offset() + 1 >= end {
                    open.remove(&at);
                }
            }
        }
    }
    Ok(())
}

/// The headers that matter here.
#[derive(Clone, Copy, Debug, Default)]
struct Head<'m> {
    id: &'m [u8],
    source: &'m str,
    name: &'m str,
    sequence: Option<Position>,
    previous: Option<Position>,
    replay: bool,
}

impl<'m> Head<'m> {
    fn of(message: &'m BorrowedMessage<'_>) -> Self {
        let mut head = Head::default();
        let Some(headers) = message.headers() else {
            return head;
        };
        for header in headers.iter() {
            let value = header.value.unwrap_or_default();
            let text = || std::str::from_utf8(value).unwrap_or_default();
            match header.key {
                CE_ID => head.id = value,
                CE_SOURCE => head.source = text(),
                CE_TYPE => head.name = text(),
                CE_SEQUENCE => head.sequence = text().parse().ok(),
                CE_PREVIOUSSEQUENCE => head.previous = text().parse().ok(),
                CE_REPLAY => head.replay = true,
                _ => {}
            }
        }
        head
    }

    /// What the order of its key is judged by.
    fn told(&self, message: &BorrowedMessage<'_>, sequence: Position) -> Told {
        Told {
            name: self.name.to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            sequence,
            is_replay: self.replay,
        }
    }
}

impl Reading {
    /// Nothing yet.
    pub(super) fn of(slice: Slice) -> Self {
        Self {
            slice,
            ..Self::default()
        }
    }

    fn take(&mut self, stretch: &Stretch, topic: usize, message: &BorrowedMessage<'_>) {
        let head = Head::of(message);
        let Some(sequence) = head.sequence.filter(|_| !head.source.is_empty()) else {
            self.tally.foreign += 1;
            return;
        };
        let at = (topic, message.partition());
        let part = stretch.parts.get(&at);
        let from_start = part.is_some_and(|part| part.from_start);
        let key = message.key().unwrap_or_default();
        let sighted = self
            .partitions
            .entry(at)
            .or_insert_with(|| Partition::new(from_start))
            .take(&Sighting {
                source: head.source,
                sequence,
                previous: head.previous,
                digest: digest([
                    head.id,
                    head.name.as_bytes(),
                    key,
                    message.payload().unwrap_or_default(),
                ]),
            });
        let place = || {
            format!(
                "{}/{}@{}",
                stretch.topics[topic],
                message.partition(),
                message.offset()
            )
        };
        let id = order_of(stretch, topic, key).filter(|id| self.slice.has(*id));
        let partitions = &mut self.of_partitions;
        let mut say =
            |class, name, detail: String| partitions.add(Finding::new(class, name, place(), detail));
        let what = || {
            format!(
                "{} of {} ({})",
                head.name,
                String::from_utf8_lossy(key),
                head.source.trim_start_matches('/')
            )
        };
        let is_news = match sighted {
            Sighted::New => true,
            Sighted::AfterHole { last, previous } => {
                let last = last.map_or_else(|| "nothing".to_owned(), |last| last.to_string());
                let detail = format!(
                    "{} was sent after {previous}, and the log has {last} before it: the broker lost records",
                    what()
                );
                say(Class::Lost, "hole", detail);
                true
            }
            Sighted::Again => {
                self.tally.repeated += 1;
                return;
            }
            Sighted::Altered => {
                let detail = format!("{} stands at {sequence}, which was another event before", what());
                say(Class::Reordered, "altered", detail);
                return;
            }
            Sighted::Overtaken { by } => {
                let detail = format!("{} stands at {sequence} behind {by}: nobody will take it", what());
                say(Class::Reordered, "overtaken", detail);
                return;
            }
            Sighted::Forgotten { last } => {
                let event = Events::of(head.name);
                let was_there = match id {
                    Some(id) => self.lives.get(&id).is_some_and(|life| life.seen.has(event)),
                    // Of another slice, which will tell; or of no order.
                    None => true,
                };
                if was_there {
                    self.tally.repeated += 1;
                } else {
                    let detail = format!(
                        "{} stands at {sequence} behind {last}: nobody will take it",
                        what()
                    );
                    self.of_orders
                        .add(Finding::new(Class::Reordered, "overtaken", place(), detail));
                }
                return;
            }
        };
        self.tally.events += u64::from(is_news);
        if TOPICS.get(topic).is_none() {
            let name = &stretch.topics[topic];
            if head.replay {
                // Under which numbers they stood in the outbox is not to be known.
                self.expected.retain(|(expected, _)| expected != name);
            } else if !self.expected.is_empty() {
                self.expected.remove(&(name.clone(), sequence.position));
            }
            return;
        }
        let Some(id) = id else { return };
        let life = if self.known_only {
            match self.lives.get_mut(&id) {
                Some(life) => life,
                None => return,
            }
        } else {
            self.lives.entry(id).or_default()
        };
        let told = head.told(message, sequence);
        let before = life.next[topic];
        if before.is_somewhere() && before.partition() != usize::try_from(told.partition).unwrap_or(0) {
            self.moved.add(id, topic);
        }
        for (name, detail) in note(life, topic, &told) {
            let finding = Finding::new(Class::Reordered, name, place(), detail);
            self.unsure.push(((id, topic), finding));
        }
    }

    /// Of what has moved, once more.
    fn take_again(&mut self, stretch: &Stretch, topic: usize, message: &BorrowedMessage<'_>) {
        let head = Head::of(message);
        let id = order_of(stretch, topic, message.key().unwrap_or_default());
        let (Some(id), Some(sequence)) = (id, head.sequence) else {
            return;
        };
        if self.moved.has(id, topic) {
            let told = head.told(message, sequence);
            self.moved.take(id, topic, head.source, told);
        }
    }

    /// What is wrong with the order of the events of each order, now that all of them are read.
    fn judge_order(&mut self, stretch: &Stretch) {
        let moved = std::mem::take(&mut self.moved);
        for ((id, topic), finding) in std::mem::take(&mut self.unsure) {
            if !moved.has(id, topic) {
                self.of_orders.add(finding);
            }
        }
        for ((id, topic), told) in moved.merged() {
            let Some(life) = self.lives.get_mut(&id) else {
                continue;
            };
            for (place, name, detail) in in_order(life, topic, &told) {
                let place = format!("{}/{place}", stretch.topics[topic]);
                self.of_orders
                    .add(Finding::new(Class::Reordered, name, place, detail));
            }
        }
    }
}

fn order_of(stretch: &Stretch, topic: usize, key: &[u8]) -> Option<Uuid> {
    (topic < TOPICS.len() && topic < stretch.topics.len())
        .then(|| Uuid::try_parse_ascii(key).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use quadrille_contracts::TOPICS as REGISTRY;

    use super::*;

    #[test]
    fn the_registry_begins_with_the_topics_of_an_order() {
        let names: Vec<&str> = REGISTRY.iter().map(|topic| topic.name).collect();
        assert_eq!(names[..TOPICS.len()], TOPICS);
    }
}
