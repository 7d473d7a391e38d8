//! Reading topics: partitions are assigned, nobody joins a group, nothing is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use quadrille_contracts::TOPICS;
use quadrille_process::kafka::KafkaSettings;
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use saga_core::partitioner::partition_for;
use saga_core::topic::DEAD_LETTER_SUFFIX;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::failure::{Code, Failure};

pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Without a record and without an end for so long, the broker is taken for gone.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(20);

/// A record, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: Option<DateTime<Utc>>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) payload: Option<Vec<u8>>,
}

/// Where to begin in each partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With the oldest record that is kept.
    Beginning,
    /// So many before the end.
    Last(i64),
    /// With this offset.
    At(BTreeMap<i32, i64>),
}

/// What to read.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub(crate) topic: String,
    /// All partitions, or the one that a key is in.
    pub(crate) partitions: Vec<i32>,
    pub(crate) begin: Begin,
    /// Goes on with what is added, until nobody listens any more.
    pub(crate) follow: bool,
}

/// What the brokers know of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TopicInfo {
    pub(crate) topic: String,
    pub(crate) partitions: usize,
    pub(crate) replicas: usize,
    pub(crate) in_sync_min: usize,
    /// Records that are kept, as far as offsets tell.
    pub(crate) records: i64,
}

/// The partitions that may hold records of a key. A topic that has grown holds its old ones where they were.
pub(crate) async fn partitions_of(
    kafka: &KafkaSettings,
    topic: &str,
    key: &str,
) -> Result<Vec<i32>, Failure> {
    let partitions = partitions(kafka, topic).await?;
    let plain = topic.strip_prefix(&kafka.prefix).unwrap_or(topic);
    let plain = plain.strip_suffix(DEAD_LETTER_SUFFIX).unwrap_or(plain);
    let is_new = TOPICS
        .iter()
        .any(|known| known.name == plain && i32::try_from(known.partitions) == Ok(partitions));
    Ok(if is_new {
        vec![partition_for(key.as_bytes(), partitions)]
    } else {
        (0..partitions).collect()
    })
}

/// How many partitions a topic has.
///
/// # Errors
/// [`Code::NotFound`] if there is no such topic, [`Code::Unavailable`] if no broker answers.
pub(crate) async fn partitions(kafka: &KafkaSettings, topic: &str) -> Result<i32, Failure> {
    let consumer = consumer(kafka)?;
    let (topic, brokers) = (topic.to_owned(), kafka.brokers.clone());
    blocking(move || {
        let metadata = consumer
            .fetch_metadata(None, ANSWER_WITHIN)
            .map_err(|error| unreachable_broker(&brokers, &error))?;
        let found = metadata.topics().iter().find(|seen| seen.name() == topic);
        match found.map(|seen| i32::try_from(seen.partitions().len()).unwrap_or(i32::MAX)) {
            Some(partitions) if partitions > 0 => Ok(partitions),
            _ => Err(Failure::not_found(format!("there is no topic {topic}"))),
        }
    })
    .await
}

/// The first and the next offset of a partition. A topic that was made a moment ago may have no leader yet, or the
/// broker that is asked may not know of it.
pub(crate) fn watermarks<C: rdkafka::consumer::ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), KafkaError> {
    let begun = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, partition, ANSWER_WITHIN) {
            Err(error) if begun.elapsed() < ANSWER_WITHIN && has_no_leader(&error) => {
                std::thread::sleep(Duration::from_millis(100));
            }
            answer => return answer,
        }
    }
}

fn has_no_leader(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::NotLeaderForPartition | Code::LeaderNotAvailable | Code::UnknownTopicOrPartition)
    )
}

/// Where each partition ends: the offset of the next record.
///
/// # Errors
/// If no broker answers.
pub(crate) async fn ends(
    kafka: &KafkaSettings,
    topic: &str,
    partitions: &[i32],
) -> Result<BTreeMap<i32, i64>, Failure> {
    let consumer = consumer(kafka)?;
    let (topic, partitions, brokers) = (topic.to_owned(), partitions.to_vec(), kafka.brokers.clone());
    blocking(move || {
        let end = |partition: i32| {
            let (_, high) = watermarks(&consumer, &topic, partition)?;
            Ok((partition, high))
        };
        let ends: Result<_, KafkaError> = partitions.into_iter().map(end).collect();
        ends.map_err(|error| unreachable_broker(&brokers, &error))
    })
    .await
}

/// All topics whose names begin with the prefix, by name.
///
/// # Errors
/// If no broker answers.
pub(crate) async fn topics(kafka: &KafkaSettings) -> Result<Vec<TopicInfo>, Failure> {
    let consumer = consumer(kafka)?;
    let (prefix, brokers) = (kafka.prefix.clone(), kafka.brokers.clone());
    blocking(move || {
        let failed = |error: KafkaError| unreachable_broker(&brokers, &error);
        let metadata = consumer.fetch_metadata(None, ANSWER_WITHIN).map_err(failed)?;
        let mut found = Vec::new();
        let ours = metadata.topics().iter().filter(|topic| {
            topic.error().is_none() && topic.name().starts_with(&prefix) && !topic.name().starts_with("__")
        });
        for topic in ours {
            let mut records = 0;
            for partition in topic.partitions() {
                let (low, high) = watermarks(&consumer, topic.name(), partition.id()).map_err(failed)?;
                records += high - low;
            }
            let partitions = || topic.partitions().iter();
            found.push(TopicInfo {
                topic: topic.name().to_owned(),
                partitions: topic.partitions().len(),
                replicas: partitions().map(|p| p.replicas().len()).max().unwrap_or(0),
                in_sync_min: partitions().map(|p| p.isr().len()).min().unwrap_or(0),
                records,
            });
        }
        found.sort_by(|a, b| a.topic.cmp(&b.topic));
        Ok(found)
    })
    .await
}

/// Reads on a thread of its own, which ends when the receiver is dropped.
///
/// # Errors
/// If the settings make no client.
pub(crate) fn read(
    kafka: &KafkaSettings,
    range: Range,
) -> Result<mpsc::Receiver<Result<Record, Failure>>, Failure> {
    let consumer = consumer(kafka)?;
    let brokers = kafka.brokers.clone();
    let (sender, receiver) = mpsc::channel(1024);
    tokio::task::spawn_blocking(move || {
        if let Err(failure) = pump(&consumer, &range, &brokers, &sender) {
            // Nobody listens: then nobody minds.
            sender.blocking_send(Err(failure)).ok();
        }
    });
    Ok(receiver)
}

/// Reads all of a range that has an end.
///
/// # Errors
/// If no broker answers.
pub(crate) async fn read_all(kafka: &KafkaSettings, range: Range) -> Result<Vec<Record>, Failure> {
    let mut receiver = read(kafka, range)?;
    let mut records = Vec::new();
    while let Some(record) = receiver.recv().await {
        records.push(record?);
    }
    Ok(records)
}

fn pump(
    consumer: &BaseConsumer<Quiet>,
    range: &Range,
    brokers: &str,
    sender: &mpsc::Sender<Result<Record, Failure>>,
) -> Result<(), Failure> {
    let failed = |error: KafkaError| unreachable_broker(brokers, &error);
    let mut assignment = TopicPartitionList::new();
    for partition in &range.partitions {
        let offset = match &range.begin {
            Begin::Beginning => Offset::Beginning,
            Begin::Last(0) => Offset::End,
            Begin::Last(n) => Offset::OffsetTail(*n),
            Begin::At(offsets) => offsets
                .get(partition)
                .map_or(Offset::Beginning, |offset| Offset::Offset(*offset)),
        };
        assignment
            .add_partition_offset(&range.topic, *partition, offset)
            .map_err(failed)?;
    }
    consumer.assign(&assignment).map_err(failed)?;
    let mut open: BTreeSet<i32> = range.partitions.iter().copied().collect();
    let mut heard = Instant::now();
    let mut trouble = None;
    while !sender.is_closed() && (range.follow || !open.is_empty()) {
        match consumer.poll(Duration::from_millis(200)) {
            None if !range.follow && heard.elapsed() > SILENCE_MAX => {
                return Err(trouble.unwrap_or_else(|| {
                    Failure::new(
                        Code::Unavailable,
                        format!("Kafka at {brokers} does not go on sending"),
                    )
                }));
            }
            None => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                heard = Instant::now();
                open.remove(&partition);
            }
            // The client goes on trying.
            Some(Err(error)) => trouble = Some(failed(error)),
            Some(Ok(message)) => {
                heard = Instant::now();
                if sender.blocking_send(Ok(Record::from(&message))).is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// A client that does not talk: what it has to say comes back as errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl rdkafka::consumer::ConsumerContext for Quiet {}

pub(crate) fn consumer(kafka: &KafkaSettings) -> Result<BaseConsumer<Quiet>, Failure> {
    let mut config = ClientConfig::new();
    config.extend(kafka.client_properties());
    config.set("client.id", "sagactl");
    // The client wants a name, though it never joins the group.
    config.set("group.id", format!("sagactl-{}", uuid::Uuid::new_v4()));
    config.set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true");
    config.set("auto.offset.reset", "earliest");
    config.set("fetch.wait.max.ms", "50");
    // Per partition: reading all topics at once stays within some tens of megabytes. The client would leave a
    // partition alone for a second whenever so much of it waits.
    config.set("queued.max.messages.kbytes", "1024");
    config.set("fetch.queue.backoff.ms", "5");
    BaseConsumer::from_config_and_context(&config, Quiet)
        .map_err(|error| Failure::usage(format!("cannot make a Kafka client: {error}")))
}

pub(crate) fn unreachable_broker(brokers: &str, error: &KafkaError) -> Failure {
    Failure::new(
        Code::Unavailable,
        format!("cannot read from Kafka at {brokers}: {error}"),
    )
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Failure::caused(Code::Internal, &error)))
}

impl From<&BorrowedMessage<'_>> for Record {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map(|headers| {
            headers
                .iter()
                .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_owned()))
                .collect()
        });
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message
                .timestamp()
                .to_millis()
                .and_then(DateTime::from_timestamp_millis),
            key: message.key().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
            payload: message.payload().map(<[u8]>::to_vec),
        }
    }
}

impl Record {
    /// Headers as pairs of name and bytes.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The text of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers().filter(|(header, _)| *header == name).last()?;
        std::str::from_utf8(value).ok()
    }

    /// `order-events/3@17`
    pub(crate) fn place(&self) -> String {
        format!("{}/{}@{}", self.topic, self.partition, self.offset)
    }

    /// The key, as people write it.
    pub(crate) fn key_text(&self) -> String {
        match &self.key {
            None => "-".to_owned(),
            Some(key) => String::from_utf8_lossy(key).into_owned(),
        }
    }

    /// For scripts. Card tokens are not shown.
    pub(crate) fn to_json(&self) -> Value {
        let headers: BTreeMap<&str, Value> = self
            .headers()
            .map(|(name, value)| (name, readable(value)))
            .collect();
        json!({
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "timestamp": self.timestamp,
            "key": self.key.as_deref().map(readable),
            "headers": headers,
            "payload": self.payload.as_deref().map(payload),
        })
    }
}

/// JSON as it is, without the tokens of cards. What is no JSON may hold one anywhere, so of that is shown how much it is, and
/// what tells it from others.
pub(crate) fn payload(bytes: &[u8]) -> Value {
    match serde_json::from_slice(bytes) {
        Ok(mut value) => {
            hide_tokens(&mut value);
            value
        }
        Err(error) => {
            let digest = Sha256::digest(bytes);
            let start: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            let (line, column, size) = (error.line(), error.column(), bytes.len());
            Value::from(format!(
                "({size} bytes, sha256 {start}…, no JSON from line {line} column {column} on)"
            ))
        }
    }
}

/// Text as text; four or eight bytes as a number, which is what Spring Kafka's headers are.
fn readable(bytes: &[u8]) -> Value {
    let printable = |text: &&str| !text.chars().any(|c| c.is_control() && !c.is_whitespace());
    if let Some(text) = std::str::from_utf8(bytes).ok().filter(printable) {
        return Value::from(text);
    }
    match (<[u8; 4]>::try_from(bytes), <[u8; 8]>::try_from(bytes)) {
        (Ok(four), _) => Value::from(i32::from_be_bytes(four)),
        (_, Ok(eight)) => Value::from(i64::from_be_bytes(eight)),
        _ => Value::from(format!("({} bytes)", bytes.len())),
    }
}

/// A card's token may be worth money.
fn hide_tokens(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == "token" && member.is_string() {
                    *member = Value::from("***");
                } else {
                    hide_tokens(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide_tokens),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cards_token_is_not_shown() {
        let bytes = br#"{"payment_method": {"kind": "card", "token": "tok_ok"}, "lines": [{"token": "x"}]}"#;
        let shown = payload(bytes).to_string();
        assert!(!shown.contains("tok_ok") && !shown.contains("\"x\""), "{shown}");
    }

    /// Half a message is no JSON, and has a token all the same.
    #[test]
    fn what_cannot_be_decoded_is_named_and_not_shown() {
        let bytes = br#"{"payment_method": {"kind": "card", "token": "tok_ok"}, "lines": ["#;
        let shown = payload(bytes);
        assert_eq!(
            shown,
            json!("(66 bytes, sha256 9c42452c839de513…, no JSON from line 1 column 66 on)")
        );
    }

    #[test]
    fn bytes_are_shown_as_what_they_are() {
        assert_eq!(payload(b"{\"a\":1}"), json!({"a": 1}));
        assert_eq!(readable(&7_i32.to_be_bytes()), json!(7));
        assert_eq!(readable(&[0xff; 3]), json!("(3 bytes)"));
    }
}
