use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::metadata::MetadataPartition;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use saga_core::position::Position;
use saga_core::{Topic, envelope};

const ANSWER: Duration = Duration::from_secs(15);
/// How long it may take to read what is there.
const READING: Duration = Duration::from_secs(60);

/// A record as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Full name of the topic.
    pub topic: String,
    /// Which partition.
    pub partition: i32,
    /// Where in it.
    pub offset: i64,
    /// The Kafka key.
    pub key: Option<Vec<u8>>,
    /// In their order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The value.
    pub payload: Option<Vec<u8>>,
}

impl Record {
    /// The value of a header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        std::str::from_utf8(value).ok()
    }

    /// Its key as text.
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    /// Where it stands in its outbox; nothing that lacks it came through a relay.
    pub fn position(&self) -> Option<Position> {
        self.header(envelope::CE_SEQUENCE)?.parse().ok()
    }
}

/// Some topics, read from their beginning.
#[expect(missing_debug_implementations, reason = "librdkafka's handle has none")]
pub struct Topics {
    consumer: BaseConsumer,
    /// The next offset of each partition.
    next: BTreeMap<(String, i32), i64>,
    /// Everything that was read.
    pub records: Vec<Record>,
}

impl Topics {
    /// Begins at the beginning of each of these topics.
    ///
    /// # Errors
    /// If the broker does not know them.
    pub fn open(brokers: &str, names: &[String]) -> Result<Self> {
        let consumer: BaseConsumer = client(brokers)
            .set("group.id", "saga-proof")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "20")
            .set("fetch.queue.backoff.ms", "5")
            .create()?;
        let mut next = BTreeMap::new();
        let mut list = TopicPartitionList::new();
        let begun = Instant::now();
        for name in names {
            for partition in retrying(begun, || partitions(&consumer, name))? {
                next.insert((name.clone(), partition), 0);
                list.add_partition_offset(name, partition, Offset::Beginning)?;
            }
        }
        consumer.assign(&list)?;
        Ok(Self {
            consumer,
            next,
            records: Vec::new(),
        })
    }

    /// Reads up to what is there now.
    ///
    /// # Errors
    /// If the broker does not hand it out within a minute. What a client meets while a broker comes back is no error before that.
    pub fn catch_up(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut behind = BTreeMap::new();
        for ((topic, partition), next) in &self.next {
            let (_, end) = retrying(begun, || {
                Ok(self.consumer.fetch_watermarks(topic, *partition, ANSWER)?)
            })?;
            if end > *next {
                behind.insert((topic.clone(), *partition), end);
            }
        }
        let mut last = None;
        while !behind.is_empty() {
            ensure!(begun.elapsed() < READING, "cannot read {behind:?}: {last:?}");
            let message = match self.consumer.poll(Duration::from_millis(200)) {
                None => continue,
                Some(Ok(message)) => message,
                Some(Err(error)) if is_fatal(&error) => return Err(error.into()),
                Some(Err(error)) => {
                    last = Some(error);
                    continue;
                }
            };
            let at = (message.topic().to_owned(), message.partition());
            if behind.get(&at).is_some_and(|end| message.offset() + 1 >= *end) {
                behind.remove(&at);
            }
            let headers = message.headers().map_or_else(Vec::new, |headers| {
                let own = |header: Header<'_, &[u8]>| {
                    (header.key.to_owned(), header.value.unwrap_or_default().to_vec())
                };
                headers.iter().map(own).collect()
            });
            self.records.push(Record {
                topic: at.0.clone(),
                partition: at.1,
                offset: message.offset(),
                key: message.key().map(<[u8]>::to_vec),
                headers,
                payload: message.payload().map(<[u8]>::to_vec),
            });
            self.next.insert(at, message.offset() + 1);
        }
        Ok(())
    }
}

fn partitions(consumer: &BaseConsumer, name: &str) -> Result<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(name), ANSWER)?;
    let topic = metadata
        .topics()
        .first()
        .context("the topic that was asked for")?;
    ensure!(topic.error().is_none(), "topic {name}: {:?}", topic.error());
    Ok(topic.partitions().iter().map(MetadataPartition::id).collect())
}

/// Asks again while the broker may only be busy, or away for a moment.
fn retrying<T>(begun: Instant, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match ask() {
            Err(error) if begun.elapsed() < READING && !is_final(&error) => {
                std::thread::sleep(Duration::from_millis(100));
            }
            answer => return answer,
        }
    }
}

/// Whether asking again is of no use: the client is of no use any more.
pub(crate) fn is_final(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(is_fatal)
}

fn is_fatal(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal)
}

/// Makes these topics, and says what they are called with this prefix.
///
/// # Errors
/// What the broker said.
pub async fn create(brokers: &str, prefix: &str, topics: &[Topic]) -> Result<Vec<String>> {
    let names: Vec<String> = topics
        .iter()
        .map(|topic| format!("{prefix}{}", topic.name))
        .collect();
    let new = names.iter().zip(topics).map(|(name, topic)| {
        let partitions = i32::try_from(topic.partitions)?;
        anyhow::Ok(NewTopic::new(name, partitions, TopicReplication::Fixed(1)))
    });
    let new: Vec<NewTopic<'_>> = new.collect::<Result<_>>()?;
    let admin: AdminClient<_> = client(brokers).create()?;
    for made in admin.create_topics(&new, &AdminOptions::new()).await? {
        made.map_err(|(name, code)| anyhow!("topic {name}: {code}"))?;
    }
    Ok(names)
}

/// Writes records as nobody in the system does: again, or wrong.
#[expect(missing_debug_implementations, reason = "librdkafka's handle has none")]
pub struct Forger {
    producer: BaseProducer,
}

impl Forger {
    /// With a connection of its own.
    ///
    /// # Errors
    /// If there is no client to be made.
    pub fn new(brokers: &str) -> Result<Self> {
        let producer = client(brokers)
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            .create()?;
        Ok(Self { producer })
    }

    /// Writes a record to its topic and partition, whatever its offset says.
    ///
    /// # Errors
    /// If the client does not take it.
    pub fn write(&self, record: &Record) -> Result<()> {
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| {
                all.insert(Header {
                    key,
                    value: Some(value),
                })
            });
        let mut new = BaseRecord::to(&record.topic)
            .partition(record.partition)
            .headers(headers);
        if let Some(key) = &record.key {
            new = new.key(key.as_slice());
        }
        if let Some(payload) = &record.payload {
            new = new.payload(payload.as_slice());
        }
        let new: BaseRecord<'_, [u8], [u8]> = new;
        self.producer.send(new).map_err(|(error, _)| error)?;
        Ok(())
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// If it is not within half a minute.
    pub fn flush(&self) -> Result<()> {
        Ok(self.producer.flush(Duration::from_secs(30))?)
    }
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", "saga-proof");
    config
}
