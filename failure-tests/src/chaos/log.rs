use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::TryStreamExt as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use saga_core::audit::{KeyOrder, Partition, Sighted, Sighting};
use saga_core::envelope::{CE_ID, CE_PREVIOUSSEQUENCE, CE_REPLAY, CE_SEQUENCE, CE_SOURCE, CE_TYPE};
use saga_core::position::Position;
use sqlx::PgPool;

use crate::chaos::notes;

const ANSWER: Duration = Duration::from_secs(15);
/// How long one partition may take; a million sagas are some gigabytes in all of them.
const PATIENCE: Duration = Duration::from_secs(600);
const EVENTS: &str = "select position, digest from witness.event order by position";

/// What was committed to one outbox, by position: 16 bytes and a bit each.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    positions: Vec<u64>,
    digests: Vec<i64>,
    published: Vec<bool>,
}

impl Committed {
    pub(crate) async fn read(database: &PgPool) -> Result<Self> {
        let mut all = Self::default();
        let mut rows = sqlx::query_as::<_, (i64, i64)>(EVENTS).fetch(database);
        while let Some((position, digest)) = rows.try_next().await? {
            all.positions.push(position.unsigned_abs());
            all.digests.push(digest);
        }
        all.published = vec![false; all.positions.len()];
        Ok(all)
    }

    /// How many of them are in no topic, and the position of the first.
    pub(crate) fn unpublished(&self) -> (usize, Option<u64>) {
        let mut missing = self.positions.iter().zip(&self.published).filter(|(_, is)| !**is);
        let first = missing.next().map(|(position, _)| *position);
        (first.map_or(0, |_| 1 + missing.count()), first)
    }

    pub(crate) fn len(&self) -> usize {
        self.positions.len()
    }
}

/// What the topics were found to hold.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) records: u64,
    pub(crate) duplicates: u64,
    /// Keys of records that no relay wrote.
    pub(crate) foreign: BTreeMap<String, u64>,
    pub(crate) wrong: Vec<String>,
}

/// G1, G2 and G3 as a reader of the topics sees them, one partition after the other.
pub(crate) struct Log {
    consumer: BaseConsumer,
    topics: Vec<(String, i32)>,
}

impl Log {
    /// Of these topics, as many as there are.
    pub(crate) fn open(brokers: &str, names: &[String]) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("client.id", "accountant")
            .set("group.id", "accountant")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "20")
            .set("fetch.queue.backoff.ms", "5")
            .create()?;
        let mut topics = Vec::new();
        let metadata = consumer
            .fetch_metadata(None, ANSWER)
            .context("ask for the topics")?;
        for topic in metadata.topics() {
            if names.iter().any(|name| name == topic.name()) {
                topics.push((topic.name().to_owned(), i32::try_from(topic.partitions().len())?));
            }
        }
        Ok(Self { consumer, topics })
    }

    /// Where each partition ends now.
    pub(crate) fn ends(&self) -> Result<BTreeMap<(String, i32), i64>> {
        let mut ends = BTreeMap::new();
        for (topic, partitions) in &self.topics {
            for partition in 0..*partitions {
                let (_, end) = self.consumer.fetch_watermarks(topic, partition, ANSWER)?;
                ends.insert((topic.clone(), partition), end);
            }
        }
        Ok(ends)
    }

    /// Reads everything and compares it with what was committed, by the name of the outbox.
    pub(crate) fn check(&self, committed: &mut BTreeMap<String, Committed>) -> Result<Findings> {
        let mut findings = Findings::default();
        for ((topic, partition), end) in self.ends()? {
            self.partition(&topic, partition, end, committed, &mut findings)
                .with_context(|| format!("read {topic}/{partition}"))?;
        }
        for (source, events) in committed {
            if let (missing @ 1.., Some(first)) = events.unpublished() {
                findings.wrong.push(format!(
                    "{missing} events of {source} were committed and are in no topic, the first of them at position {first}"
                ));
            }
        }
        Ok(findings)
    }

    fn partition(
        &self,
        topic: &str,
        partition: i32,
        end: i64,
        committed: &mut BTreeMap<String, Committed>,
        findings: &mut Findings,
    ) -> Result<()> {
        if end == 0 {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(0))?;
        self.consumer.assign(&list)?;
        let begun = Instant::now();
        let mut reader = Reader {
            partition: Partition::new(true).remembering(usize::MAX),
            keys: HashMap::new(),
        };
        loop {
            ensure!(begun.elapsed() < PATIENCE, "it takes too long");
            let Some(message) = self.consumer.poll(Duration::from_millis(200)) else {
                continue;
            };
            let message = message?;
            // Of the partition before it, on its way when it was left.
            if message.topic() != topic || message.partition() != partition {
                continue;
            }
            reader.take(&message, committed, findings);
            if message.offset() + 1 >= end {
                return Ok(());
            }
        }
    }
}

/// One partition, as far as it was read.
struct Reader {
    partition: Partition,
    /// By outbox and key.
    keys: HashMap<(String, Vec<u8>), KeyOrder>,
}

impl Reader {
    fn take(
        &mut self,
        message: &BorrowedMessage<'_>,
        committed: &mut BTreeMap<String, Committed>,
        findings: &mut Findings,
    ) {
        findings.records += 1;
        let header = |name: &str| -> Option<&str> {
            let mut all = message.headers()?.iter();
            std::str::from_utf8(all.find(|header| header.key == name)?.value?).ok()
        };
        let key = message.key().unwrap_or_default();
        let position: Option<Position> = header(CE_SEQUENCE).and_then(|text| text.parse().ok());
        let source = header(CE_SOURCE).and_then(|source| source.strip_prefix('/'));
        let (Some(position), Some(source)) = (position, source) else {
            let key = String::from_utf8_lossy(key).into_owned();
            *findings.foreign.entry(key).or_default() += 1;
            return;
        };
        let digest = notes::digest(
            header(CE_ID).unwrap_or_default(),
            message.topic(),
            &String::from_utf8_lossy(key),
            header(CE_TYPE).unwrap_or_default(),
            message.payload().unwrap_or_default(),
        );
        let mut wrong = |what: String| {
            let place = format!("{}/{}@{}", message.topic(), message.partition(), message.offset());
            findings.wrong.push(format!("{place}: {what}"));
        };
        match self.partition.take(&Sighting {
            source,
            sequence: position,
            previous: header(CE_PREVIOUSSEQUENCE).and_then(|text| text.parse().ok()),
            digest: digest.cast_unsigned(),
        }) {
            Sighted::New => {}
            Sighted::Again => {
                findings.duplicates += 1;
                return;
            }
            Sighted::Altered => return wrong(format!("{position} came before with another content")),
            Sighted::AfterHole { previous, .. } => {
                wrong(format!(
                    "{position} was sent after {previous}, which is not there"
                ));
            }
            Sighted::Overtaken { .. } | Sighted::Forgotten { .. } => wrong(format!(
                "{position} comes after a higher position: no consumer will take it"
            )),
        }
        let events = committed.get_mut(source);
        let known = events.and_then(|events| {
            let at = events.positions.binary_search(&position.position).ok()?;
            Some((
                events.digests[at],
                std::mem::replace(&mut events.published[at], true),
            ))
        });
        match known {
            None => wrong(format!("{position} of {source} was never committed")),
            Some((noted, _)) if noted != digest => {
                wrong(format!(
                    "{position} of {source} was committed with another content"
                ));
            }
            Some((_, true)) => wrong(format!(
                "{position} of {source} was published under another position, too"
            )),
            Some((_, false)) => {}
        }
        let order = self.keys.entry((source.to_owned(), key.to_vec())).or_default();
        if !order.take(position, header(CE_REPLAY).is_some()) {
            wrong(format!(
                "{} of key {} overtook what was committed before it",
                header(CE_TYPE).unwrap_or_default(),
                String::from_utf8_lossy(key)
            ));
        }
    }
}
