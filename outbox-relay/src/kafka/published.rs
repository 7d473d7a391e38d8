use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::metadata::MetadataPartition;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use saga_core::envelope::{CE_SEQUENCE, CE_SOURCE};
use saga_core::position::Position;

use super::config::{NOBODY, looker};
use crate::options::SourceName;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// From each partition. Others may publish to it, too.
const LAST: i64 = 20;

/// What a topic ends with.
#[derive(Debug)]
pub(crate) struct Ends {
    /// This outbox's highest position among the last records of each partition that has any.
    pub(crate) last: BTreeMap<i32, Position>,
    /// Whether each partition has a leader. What one without ends with, nobody can tell.
    led: bool,
}

/// # Errors
/// If a partition has no leader.
pub(crate) fn all_led(ends: &BTreeMap<String, Ends>) -> Result<(), KafkaError> {
    match ends.values().all(|ends| ends.led) {
        true => Ok(()),
        false => Err(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable)),
    }
}

/// The highest position in any of them.
pub(crate) fn highest(ends: &BTreeMap<String, Ends>) -> Option<Position> {
    ends.values().flat_map(|ends| ends.last.values()).copied().max()
}

/// What each topic ends with, of those that the broker knows. It knows so even if the outbox's database does not any more.
///
/// # Errors
/// If the broker does not answer, or we may not read the topics: [`is_refusal`].
pub(crate) async fn by_partition(
    kafka: &[(String, String)],
    source: &SourceName,
    topics: Vec<String>,
) -> Result<BTreeMap<String, Ends>, KafkaError> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut config = looker(kafka, NOBODY);
    config.set("fetch.wait.max.ms", "10");
    let source = format!("/{source}");
    tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = config.create()?;
        look(&consumer, &source, &topics)
    })
    .await
    .unwrap_or(Err(KafkaError::Canceled))
}

/// The relay's user may write topics and not read them.
pub(crate) fn is_refusal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
        )
    )
}

fn look(
    consumer: &BaseConsumer,
    source: &str,
    topics: &[String],
) -> Result<BTreeMap<String, Ends>, KafkaError> {
    // All of them: a broker that makes topics on sight would make one that is asked for by name.
    let metadata = consumer.fetch_metadata(None, ANSWER_WITHIN)?;
    let found = metadata
        .topics()
        .iter()
        .filter(|topic| topic.error().is_none() && topics.iter().any(|name| name == topic.name()));
    let mut ends = BTreeMap::new();
    for topic in found {
        let with_leader = topic.partitions().iter().filter(|one| one.leader() >= 0);
        let with_leader: BTreeSet<_> = with_leader.map(MetadataPartition::id).collect();
        let led = with_leader.len() == topic.partitions().len();
        let last = of_topic(consumer, source, topic.name(), with_leader)?;
        ends.insert(topic.name().to_owned(), Ends { last, led });
    }
    Ok(ends)
}

/// One topic at a time: the client says of which partition it has reached the end, and not of which topic.
fn of_topic(
    consumer: &BaseConsumer,
    source: &str,
    topic: &str,
    mut unread: BTreeSet<i32>,
) -> Result<BTreeMap<i32, Position>, KafkaError> {
    let mut ends = TopicPartitionList::new();
    for partition in &unread {
        ends.add_partition_offset(topic, *partition, Offset::OffsetTail(LAST))?;
    }
    consumer.assign(&ends)?;
    let (begun, mut highest) = (Instant::now(), BTreeMap::new());
    while !unread.is_empty() {
        if begun.elapsed() > ANSWER_WITHIN {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut));
        }
        match consumer.poll(Duration::from_millis(100)) {
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unread.remove(&partition);
            }
            Some(Err(error)) if is_refusal(&error) => return Err(error),
            // It tries again by itself.
            None | Some(Err(_)) => {}
            Some(Ok(message)) => {
                let header = |name: &str| {
                    let mut headers = message.headers()?.iter();
                    let found = headers.find(|header| header.key == name)?;
                    std::str::from_utf8(found.value?).ok()
                };
                let position = header(CE_SEQUENCE).and_then(|text| text.parse::<Position>().ok());
                if let Some(position) = position.filter(|_| header(CE_SOURCE) == Some(source)) {
                    let known = highest.entry(message.partition()).or_insert(position);
                    *known = position.max(*known);
                }
            }
        }
    }
    Ok(highest)
}
