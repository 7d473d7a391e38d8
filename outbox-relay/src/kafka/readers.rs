use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::blocking;
use super::config::{NOBODY, looker};

/// What consumer groups have read of topics, as far as they have told the broker. Joins no group.
pub(crate) struct Readers {
    kafka: Vec<(String, String)>,
    clients: BTreeMap<String, Arc<BaseConsumer>>,
}

/// What a topic's partitions hold: from the first offset that is kept to the one after the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extents(Vec<(i64, i64)>);

/// What a group has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    pub(crate) records: i64,
    /// The partition with the most of them.
    pub(crate) partition: i32,
}

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A transaction's end takes an offset that nobody reads, so a group that has read everything may seem to lack a few.
const MARKERS: i64 = 16;

/// Groups that are asked for at the same time.
const AT_ONCE: usize = 16;

impl Readers {
    pub(crate) fn new(kafka: Vec<(String, String)>) -> Self {
        Self {
            kafka,
            clients: BTreeMap::new(),
        }
    }

    /// The groups that have read the topic and told the broker so.
    pub(crate) async fn of(&mut self, topic: &str, partitions: i32) -> Result<Vec<String>, KafkaError> {
        let client = self.client(NOBODY)?;
        let groups: Vec<String> = blocking(move || {
            let listed = client.fetch_group_list(None, ANSWER_WITHIN)?;
            Ok(listed
                .groups()
                .iter()
                .map(|group| group.name().to_owned())
                .collect())
        })
        .await?;
        let topic = topic.to_owned();
        let mut readers = Vec::new();
        // Clients are thrown away: a cluster may have thousands of groups.
        for some in groups.chunks(AT_ONCE) {
            let asked = some.iter().map(|group| {
                let (group, topic, config) = (group.clone(), topic.clone(), looker(&self.kafka, group));
                tokio::task::spawn_blocking(move || {
                    let client: BaseConsumer = config.create()?;
                    let told = client.committed_offsets(all(&topic, partitions), ANSWER_WITHIN)?;
                    let elements = told.elements();
                    let has_read = elements
                        .iter()
                        .any(|place| matches!(place.offset(), Offset::Offset(_)));
                    Ok(has_read.then_some(group))
                })
            });
            let asked: Vec<_> = asked.collect();
            for one in asked {
                readers.extend(one.await.unwrap_or(Err(KafkaError::Canceled))?);
            }
        }
        readers.sort();
        Ok(readers)
    }

    /// How many partitions the broker has of a topic; 0 if there is none.
    pub(crate) async fn partitions(&mut self, topic: &str) -> Result<usize, KafkaError> {
        let (client, topic) = (self.client(NOBODY)?, topic.to_owned());
        blocking(move || {
            // All of them: a broker that makes topics on sight would make one that is asked for by name.
            let metadata = client.fetch_metadata(None, ANSWER_WITHIN)?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            Ok(found.map_or(0, |found| found.partitions().len()))
        })
        .await
    }

    /// What the first partitions of a topic hold now.
    pub(crate) async fn extents(&mut self, topic: &str, partitions: i32) -> Result<Extents, KafkaError> {
        let (client, topic) = (self.client(NOBODY)?, topic.to_owned());
        blocking(move || {
            (0..partitions)
                .map(|partition| client.fetch_watermarks(&topic, partition, ANSWER_WITHIN))
                .collect::<Result<_, _>>()
                .map(Extents)
        })
        .await
    }

    /// What a group has not read of that. `None`: it has read everything.
    pub(crate) async fn behind(
        &mut self,
        group: &str,
        topic: &str,
        extents: &Extents,
    ) -> Result<Option<Behind>, KafkaError> {
        let client = self.client(group)?;
        let (topic, extents) = (topic.to_owned(), extents.0.clone());
        blocking(move || {
            let partitions = i32::try_from(extents.len()).unwrap_or(i32::MAX);
            let told = client.committed_offsets(all(&topic, partitions), ANSWER_WITHIN)?;
            let mut behind: Option<Behind> = None;
            let mut most = 0;
            for (partition, (first, end)) in (0..).zip(extents) {
                let next = match told.find_partition(&topic, partition).map(|place| place.offset()) {
                    Some(Offset::Offset(next)) => next.max(first),
                    _ => first,
                };
                let left = end - next;
                if left <= 0 || (left <= MARKERS && !holds_records(&client, &topic, partition, next, end)?) {
                    continue;
                }
                let sum = behind.map_or(0, |behind| behind.records) + left;
                let worst = behind.map_or(partition, |behind| behind.partition);
                behind = Some(Behind {
                    records: sum,
                    partition: if left > most { partition } else { worst },
                });
                most = most.max(left);
            }
            Ok(behind)
        })
        .await
    }

    fn client(&mut self, group: &str) -> Result<Arc<BaseConsumer>, KafkaError> {
        if let Some(client) = self.clients.get(group) {
            return Ok(client.clone());
        }
        let client: Arc<BaseConsumer> = Arc::new(looker(&self.kafka, group).create()?);
        self.clients.insert(group.to_owned(), client.clone());
        Ok(client)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        // Their threads are joined, which an async worker has no time for.
        let clients = std::mem::take(&mut self.clients);
        std::thread::spawn(move || drop(clients));
    }
}

fn all(topic: &str, partitions: i32) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition(topic, partition);
    }
    list
}

/// Whether a reader finds anything between two offsets.
fn holds_records(
    client: &BaseConsumer,
    topic: &str,
    partition: i32,
    from: i64,
    end: i64,
) -> Result<bool, KafkaError> {
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, partition, Offset::Offset(from))?;
    client.assign(&place)?;
    let begun = Instant::now();
    let found = loop {
        match client.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                break Ok(rdkafka::Message::offset(&message) < end);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => break Ok(false),
            Some(Err(error))
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::BrokerTransportFailure) => {}
            Some(Err(error)) => break Err(error),
            None => {}
        }
        if begun.elapsed() > ANSWER_WITHIN {
            // Not known to be nothing.
            break Ok(true);
        }
    };
    client.unassign()?;
    found
}
