use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::{Display, Formatter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use chrono::{DateTime, SecondsFormat};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use saga_core::envelope::{CE_PREVIOUSSEQUENCE, CE_SEQUENCE};
use saga_core::position::Position;
use uuid::Uuid;

use super::support::Outbox;
use super::versions::Versions;
use super::writers::Progress;

/// An idempotent consumer as DESIGN has it, on a thread of its own: it takes what is above the last position of its
/// partition, knows a hole when it sees one, and knows what a duplicate is a duplicate of.
pub struct Checker {
    seen: Arc<Mutex<Seen>>,
    ended: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    partitions: HashMap<i32, Partition>,
    versions: Versions,
    verdict: Verdict,
    /// When the last record came.
    moved: Option<Instant>,
}

#[derive(Debug, Default)]
struct Partition {
    last: Option<Position>,
    /// What came lately, in order. What a relay sends again was not acknowledged when it crashed, so it is among them.
    lately: VecDeque<Came>,
}

/// A record that came.
#[derive(Debug, Clone, Copy)]
struct Came {
    position: Position,
    id: Uuid,
    offset: i64,
    /// When the broker wrote it, in milliseconds.
    written: i64,
}

impl Display for Came {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        let written = DateTime::from_timestamp_millis(self.written).unwrap_or_default();
        let written = written.to_rfc3339_opts(SecondsFormat::Millis, true);
        write!(
            out,
            "position {}, offset {}, written {written}",
            self.position, self.offset
        )
    }
}

/// What came of it.
#[derive(Debug, Default, Clone)]
pub struct Verdict {
    pub events: u64,
    pub duplicates: u64,
    pub lost: u64,
    pub violations: Vec<String>,
}

/// Far more than windows in flight can hold.
const LATELY: usize = 200_000;
/// More than this says no more than this.
const VIOLATIONS: usize = 1000;
const TOLD: usize = 20;
/// How long it may take until the last event is there, from the last one that came.
const PATIENCE: Duration = Duration::from_secs(120);
/// For what should not be there.
const AFTERWARDS: Duration = Duration::from_secs(3);

impl Verdict {
    pub fn holds(&self) -> bool {
        self.lost == 0 && self.violations.is_empty()
    }

    /// Told at once: whoever waits for the end of ten million events may want to stop at the first.
    fn violation(&mut self, what: String) {
        if self.violations.len() < TOLD {
            println!("soak: {what}");
        }
        if self.violations.len() < VIOLATIONS {
            self.violations.push(what);
        }
    }
}

impl Checker {
    /// Reads what is committed: in a topic without transactions that is all.
    pub fn start(outbox: &Outbox, topic: &str, partitions: i32, progress: Arc<Progress>) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &outbox.servers.kafka_brokers)
            .set("group.id", "soak")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error")
            .create()?;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Offset(0))?;
        }
        consumer.assign(&list)?;
        let (seen, ended) = (
            Arc::new(Mutex::new(Seen::default())),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = std::thread::spawn({
            let (seen, ended) = (seen.clone(), ended.clone());
            move || {
                while !ended.load(Ordering::Acquire) {
                    // A broker that is being restarted; it is read again.
                    let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
                        continue;
                    };
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.see(&message)?;
                    progress.checked.store(seen.verdict.events, Ordering::Relaxed);
                }
                Ok(())
            }
        });
        Ok(Self { seen, ended, thread })
    }

    /// Waits for everything that was committed, and a little longer.
    pub async fn finish(self, expected: &BTreeMap<String, i64>) -> Result<Verdict> {
        let waiting = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if self.thread.is_finished() {
                break;
            }
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let quiet = seen.moved.unwrap_or(waiting).max(waiting).elapsed();
            let patience = if seen.versions.behind(expected) == 0 {
                AFTERWARDS
            } else {
                PATIENCE
            };
            if quiet > patience {
                break;
            }
        }
        self.ended.store(true, Ordering::Release);
        tokio::task::spawn_blocking(|| self.thread.join().unwrap()).await??;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.verdict.lost = seen.versions.lost(expected);
        for (key, version) in &seen.versions.last.clone() {
            if expected.get(key).is_none_or(|last| last < version) {
                seen.verdict
                    .violation(format!("{key}: version {version} was never committed"));
            }
        }
        Ok(seen.verdict.clone())
    }
}

impl Seen {
    fn see(&mut self, message: &BorrowedMessage<'_>) -> Result<()> {
        self.moved = Some(Instant::now());
        let header = |name: &str| -> Option<&str> {
            let header = message.headers()?.iter().find(|header| header.key == name)?;
            std::str::from_utf8(header.value?).ok()
        };
        let position: Position = header(CE_SEQUENCE).context("each has a position")?.parse()?;
        let previous: Option<Position> = header(CE_PREVIOUSSEQUENCE).map(str::parse).transpose()?;
        let id: Uuid = header("ce_id").context("each has an id")?.parse()?;
        let key = std::str::from_utf8(message.key().context("each has a key")?)?;
        let payload = std::str::from_utf8(message.payload().context("each has a payload")?)?;
        let version: i64 = payload.trim_end().parse()?;

        let came = Came {
            position,
            id,
            offset: message.offset(),
            written: message.timestamp().to_millis().unwrap_or(0),
        };
        let number = message.partition();
        let partition = self.partitions.entry(number).or_default();
        if let Some(last) = partition.last.filter(|last| position <= *last) {
            let known = partition
                .lately
                .binary_search_by_key(&position, |known| known.position);
            self.verdict.duplicates += 1;
            if known.ok().is_none_or(|index| partition.lately[index].id != id) {
                let what = format!("partition {number}: {id} ({came}) is behind {last}, and no duplicate");
                self.verdict.violation(what);
            }
            return Ok(());
        }
        if let (Some(previous), Some(last)) = (previous, partition.last)
            && previous != last
        {
            let what =
                format!("hole in partition {number}: {previous} comes before {position}, and {last} did");
            self.verdict.violation(what);
        }
        partition.last = Some(position);
        partition.lately.push_back(came);
        if partition.lately.len() > LATELY {
            partition.lately.pop_front();
        }
        self.verdict.events += 1;
        if let Some(last) = self.versions.take(key, version) {
            let mut what =
                format!("partition {number}: {key}: version {version} ({came}) comes after {last}");
            let before = |one: &&Came| one.id == id && one.offset != came.offset;
            if let Some(before) = partition.lately.iter().find(before) {
                what += &format!("; the same event came before: {before}");
            }
            self.verdict.violation(what);
        }
        Ok(())
    }
}
