//! Which part of the topics is looked at.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use quadrille_contracts::TOPICS as REGISTRY;
use quadrille_process::kafka::KafkaSettings;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::log::stream;
use crate::failure::Failure;
use crate::records::{ANSWER_WITHIN, blocking, consumer, unreachable_broker, watermarks};

/// A part of each partition of the shop's topics, by the index of the topic in the registry.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretch {
    pub(super) topics: Vec<String>,
    pub(super) parts: BTreeMap<(usize, i32), Part>,
}

/// A part of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The first offset.
    pub(super) begin: i64,
    /// The offset behind the last.
    pub(super) end: i64,
    /// Whether nothing was ever before it.
    pub(super) from_start: bool,
}

impl Stretch {
    /// Records in one topic.
    pub(super) fn records_of(&self, topic: usize) -> i64 {
        let parts = self.parts.iter().filter(|((of, _), _)| *of == topic);
        parts.map(|(_, part)| (part.end - part.begin).max(0)).sum()
    }

    /// The same of some of the topics.
    pub(super) fn of_topics(&self, is_wanted: impl Fn(usize) -> bool) -> Self {
        let parts = self.parts.iter().filter(|((topic, _), _)| is_wanted(*topic));
        Self {
            topics: self.topics.clone(),
            parts: parts.map(|(at, part)| (*at, *part)).collect(),
        }
    }

    /// From where this one ends to where the partitions end now.
    pub(super) async fn go_on(&self, kafka: &KafkaSettings) -> Result<Self, Failure> {
        let mut next = stretch(kafka, None).await?;
        for (at, part) in &mut next.parts {
            if let Some(before) = self.parts.get(at) {
                part.begin = before.end;
                part.from_start = before.from_start;
            }
        }
        Ok(next)
    }

    /// The same up to where the partitions end now.
    pub(super) async fn longer(&self, kafka: &KafkaSettings) -> Result<Self, Failure> {
        let mut longer = self.clone();
        for (at, part) in stretch(kafka, None).await?.parts {
            if let Some(before) = longer.parts.get_mut(&at) {
                before.end = part.end;
            }
        }
        Ok(longer)
    }

    /// Since when everything is in it that was ever written: the first record of the partition that lost its beginning
    /// last. `None`: nothing is gone.
    pub(super) async fn whole_since(&self, kafka: &KafkaSettings) -> Result<Option<DateTime<Utc>>, Failure> {
        let first = Self {
            topics: self.topics.clone(),
            parts: self
                .parts
                .iter()
                .filter(|(_, part)| !part.from_start && part.begin < part.end)
                .map(|(at, part)| {
                    let end = part.begin + 1;
                    (*at, Part { end, ..*part })
                })
                .collect(),
        };
        let (reader, brokers) = (consumer(kafka)?, kafka.brokers.clone());
        blocking(move || {
            let mut latest = None;
            stream(&reader, &first, &brokers, |_, message| {
                let time = message.timestamp().to_millis();
                latest = latest.max(time.and_then(DateTime::from_timestamp_millis));
            })?;
            Ok(latest)
        })
        .await
    }
}

/// Everything that the topics hold, or everything since then, up to now.
pub(super) async fn stretch(kafka: &KafkaSettings, since: Option<DateTime<Utc>>) -> Result<Stretch, Failure> {
    let reader = consumer(kafka)?;
    let topics: Vec<String> = REGISTRY.iter().map(|topic| kafka.prefixed(topic.name)).collect();
    let brokers = kafka.brokers.clone();
    blocking(move || {
        let failed = |error: KafkaError| unreachable_broker(&brokers, &error);
        let mut parts = BTreeMap::new();
        for (index, topic) in topics.iter().enumerate() {
            let metadata = reader
                .fetch_metadata(Some(topic), ANSWER_WITHIN)
                .map_err(failed)?;
            let partitions = metadata
                .topics()
                .first()
                .filter(|topic| topic.error().is_none())
                .map(|topic| topic.partitions().len())
                .filter(|partitions| *partitions > 0)
                .ok_or_else(|| Failure::not_found(format!("there is no topic {topic}")))?;
            for partition in (0..).take(partitions) {
                let (low, end) = watermarks(&reader, topic, partition).map_err(failed)?;
                parts.insert(
                    (index, partition),
                    Part {
                        begin: low,
                        end,
                        from_start: low == 0,
                    },
                );
            }
        }
        let mut stretch = Stretch { topics, parts };
        if let Some(since) = since {
            begin_at(&reader, &mut stretch, since).map_err(failed)?;
        }
        Ok(stretch)
    })
    .await
}

fn begin_at<C: rdkafka::consumer::ConsumerContext>(
    reader: &BaseConsumer<C>,
    stretch: &mut Stretch,
    since: DateTime<Utc>,
) -> Result<(), KafkaError> {
    let mut asked = TopicPartitionList::new();
    for (topic, partition) in stretch.parts.keys() {
        let at = Offset::Offset(since.timestamp_millis());
        asked.add_partition_offset(&stretch.topics[*topic], *partition, at)?;
    }
    let found = reader.offsets_for_times(asked, ANSWER_WITHIN)?;
    for element in found.elements() {
        let Some(topic) = stretch.topics.iter().position(|topic| topic == element.topic()) else {
            continue;
        };
        if let Some(part) = stretch.parts.get_mut(&(topic, element.partition())) {
            // Without a record since then it is the end.
            let begin = match element.offset() {
                Offset::Offset(offset) => offset,
                _ => part.end,
            };
            part.from_start = part.from_start && begin == part.begin;
            part.begin = begin.max(part.begin);
        }
    }
    Ok(())
}
