use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use saga_core::envelope::{CE_PREVIOUSSEQUENCE, CE_SEQUENCE};
use saga_core::position::Position;
use tokio::time::Instant;

use super::support::{Outbox, PATIENCE};
use super::versions::Versions;

/// A record as a consumer sees it.
#[derive(Debug, Clone)]
pub struct Record {
    pub partition: i32,
    pub key: String,
    pub payload: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name);
        let value = values
            .next()
            .map(|(_, value)| std::str::from_utf8(value).unwrap());
        assert!(values.next().is_none(), "header {name} came twice");
        value
    }

    pub fn position(&self) -> Position {
        self.header(CE_SEQUENCE)
            .expect("each has a position")
            .parse()
            .unwrap()
    }

    pub fn previous(&self) -> Option<Position> {
        self.header(CE_PREVIOUSSEQUENCE).map(|text| text.parse().unwrap())
    }
}

/// Reads a topic from its beginning, forever on.
pub struct Reader {
    consumer: Arc<BaseConsumer>,
}

impl Reader {
    pub fn new(outbox: &Outbox, topic: &str, partitions: i32) -> Result<Self> {
        let kafka = [(
            "bootstrap.servers".to_owned(),
            outbox.servers.kafka_brokers.clone(),
        )];
        Self::with(&kafka, topic, partitions)
    }

    /// With a user's own properties.
    pub fn with(kafka: &[(String, String)], topic: &str, partitions: i32) -> Result<Self> {
        let mut config = ClientConfig::new();
        for (name, value) in kafka {
            config.set(name, value);
        }
        let consumer: BaseConsumer = config
            .set("group.id", "it")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "10")
            .set("fetch.queue.backoff.ms", "0")
            .set("topic.metadata.refresh.interval.ms", "500")
            .create()?;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        Ok(Self {
            consumer: Arc::new(consumer),
        })
    }

    /// The next record, or none within the time.
    pub async fn next(&self, within: Duration) -> Option<Record> {
        let consumer = self.consumer.clone();
        tokio::task::spawn_blocking(move || {
            let message = match consumer.poll(within)? {
                Ok(message) => message,
                // A broker that is being restarted; it is read again.
                Err(_) => return None,
            };
            let headers = message.headers().map_or_else(Vec::new, |headers| {
                headers
                    .iter()
                    .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
                    .collect()
            });
            Some(Record {
                partition: message.partition(),
                key: String::from_utf8(message.key().unwrap().to_vec()).unwrap(),
                payload: message.payload().map(<[u8]>::to_vec),
                headers,
            })
        })
        .await
        .unwrap()
    }

    /// So many records, as they come.
    pub async fn take(&self, count: usize) -> Vec<Record> {
        let deadline = Instant::now() + PATIENCE;
        let mut records = Vec::new();
        while records.len() < count {
            assert!(
                Instant::now() < deadline,
                "only {} of {count} records came",
                records.len()
            );
            records.extend(self.next(Duration::from_millis(100)).await);
        }
        records
    }
}

/// An idempotent consumer as DESIGN §6 has it: it remembers the last position per partition, takes what is
/// above it, and knows a hole when it sees one.
#[derive(Default)]
pub struct Checker {
    last: HashMap<i32, Position>,
    ids: HashMap<Position, String>,
    /// Versions per key, in the order in which they were taken.
    pub taken: BTreeMap<String, Vec<i64>>,
    pub duplicates: usize,
    pub count: usize,
}

impl Checker {
    pub fn see(&mut self, record: &Record) -> Result<()> {
        let position = record.position();
        let id = record.header("ce_id").unwrap().to_owned();
        let known = self.ids.entry(position).or_insert_with(|| id.clone());
        ensure!(*known == id, "position {position} is that of {known} and of {id}");
        let last = self.last.get(&record.partition).copied();
        if last.is_some_and(|last| position <= last) {
            self.duplicates += 1;
            return Ok(());
        }
        if let (Some(previous), Some(last)) = (record.previous(), last) {
            ensure!(
                previous == last,
                "hole in partition {}: {previous} should come before {position}, and {last} did",
                record.partition
            );
        }
        self.last.insert(record.partition, position);
        let version = std::str::from_utf8(record.payload.as_deref().unwrap())?.parse()?;
        self.taken.entry(record.key.clone()).or_default().push(version);
        self.count += 1;
        Ok(())
    }

    /// Reads until everything that was committed has been taken, each key's versions in their order, and
    /// nothing else.
    pub async fn finish(mut self, reader: &Reader, expected: &BTreeMap<String, i64>) -> Result<Self> {
        let total: i64 = expected.values().sum();
        let deadline = Instant::now() + PATIENCE;
        // A little longer than needed, for what should not be there.
        let mut quiet = 0;
        while quiet < 5 {
            match reader.next(Duration::from_millis(100)).await {
                Some(record) => {
                    self.see(&record)?;
                    quiet = 0;
                }
                None if self.count >= usize::try_from(total)? => quiet += 1,
                None if Instant::now() > deadline => break,
                None => {}
            }
        }
        for (key, versions) in &self.taken {
            let ascending: Vec<i64> = (1..=expected.get(key).copied().unwrap_or(0)).collect();
            ensure!(
                *versions == ascending,
                "key {key}: expected 1 to {}, took {versions:?}",
                ascending.len()
            );
        }
        ensure!(
            self.count == usize::try_from(total)?,
            "took {} of {total} events",
            self.count
        );
        Ok(self)
    }
}

#[test]
fn what_is_missing_in_the_middle_is_lost_as_what_is_missing_at_the_end() {
    let expected = [("a", 5), ("b", 2), ("c", 1)].map(|(key, last)| (key.to_owned(), last));
    let expected = BTreeMap::from(expected);
    let mut versions = Versions::default();
    assert_eq!(versions.lost(&expected), 8);
    assert_eq!(versions.take("b", 1), None);
    assert_eq!(versions.take("b", 2), None);
    assert_eq!(versions.take("a", 1), None);
    assert_eq!(versions.take("a", 4), Some(1));
    assert_eq!(versions.behind(&expected), 2, "a's fifth and c's first");
    assert_eq!(versions.lost(&expected), 4, "and two in the middle");
    // One of them comes late, which is another fault, and then once more.
    assert_eq!(versions.take("a", 2), Some(4));
    assert_eq!(versions.take("a", 2), Some(4));
    assert_eq!(versions.lost(&expected), 3);
    assert_eq!(versions.take("a", 5), None);
    assert_eq!(versions.lost(&expected), 2);
}
