use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;

use super::Tenure;
use crate::kafka::readers::{Behind, Extents, Readers};
use crate::outbox::error::OutboxError;
use crate::outbox::growth::{Wish, wishes};
use crate::publisher::Publisher;
use crate::ring::Ring;

/// Topics that are to spread their keys over more partitions, and when they were last looked at.
pub(super) struct Growth {
    readers: Readers,
    looked: Option<Instant>,
    next: Duration,
}

/// Why a topic's keys stay where they are for now.
#[derive(Debug)]
enum NotYet {
    /// The broker has fewer.
    Partitions(usize),
    /// A group has not read everything.
    Behind(String, Behind),
    /// The broker does not tell.
    Silent(String, KafkaError),
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Publishing waits while the broker is asked, and so it is not asked again for so many times as long as that took.
const REST: u32 = 20;
/// After one that could not be fulfilled while everything waited for it.
const AGAIN_AFTER: Duration = Duration::from_secs(15);
/// Nothing is held up for a group that lacks more than this.
const NEAR: i64 = 1_000;

impl Growth {
    pub(super) fn new(kafka: &[(String, String)]) -> Self {
        Self {
            readers: Readers::new(kafka.to_vec()),
            looked: None,
            next: LOOK_EVERY,
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.looked.is_none_or(|at| at.elapsed() >= self.next)
    }
}

impl Tenure {
    /// Fulfils the wishes for more partitions that can be fulfilled: what was published is acknowledged (drain) and read
    /// (barrier), and only then do keys move. `false`: the relay was told to stop before the end of it.
    ///
    /// Without the barrier a reader of one of the new partitions could overtake the reader of an old one, and a key's
    /// events would be applied in another order than they happened in. What consumers remember per partition stays true:
    /// what goes to a new partition stands above everything that went to an old one.
    pub(super) async fn grow(
        &mut self,
        publisher: &mut Publisher,
        ring: &mut Ring,
        growth: &mut Growth,
        cancel: &CancellationToken,
    ) -> Result<bool, OutboxError> {
        let patience = self.options.statement_timeout;
        let wishes = wishes(&mut self.connection, patience).await?;
        growth.next = LOOK_EVERY;
        let mut asking = Duration::ZERO;
        for wish in wishes {
            let mut held = false;
            let asked_at = Instant::now();
            let near = self.is_near(growth, &wish).await;
            asking += asked_at.elapsed();
            let reached = match near {
                Err(not_yet) => Err(not_yet),
                Ok(()) => {
                    if !self.empty(publisher, ring, cancel).await? {
                        return Ok(false);
                    }
                    held = true;
                    let note = format!(
                        "events wait until {} has read everything",
                        wish.wait_for.join(" and ")
                    );
                    self.note(&wish, &note).await?;
                    tokio::select! {
                        reached = self.barrier(growth, &wish) => reached,
                        () = cancel.cancelled() => return Ok(false),
                    }
                }
            };
            match reached {
                Ok(()) => self.move_keys(publisher, &wish).await?,
                Err(not_yet) => {
                    if held {
                        growth.next = AGAIN_AFTER;
                    }
                    self.note(&wish, &not_yet.to_string()).await?;
                }
            }
        }
        growth.next = growth.next.max(asking * REST);
        growth.looked = Some(Instant::now());
        Ok(true)
    }

    /// Whether it is worth while to hold events back.
    async fn is_near(&self, growth: &mut Growth, wish: &Wish) -> Result<(), NotYet> {
        let silent = |whom: &str| {
            let whom = whom.to_owned();
            move |source| NotYet::Silent(whom, source)
        };
        let found = growth.readers.partitions(&wish.topic).await.map_err(silent(""))?;
        if i32::try_from(found).is_ok_and(|found| found < wish.wanted) {
            return Err(NotYet::Partitions(found));
        }
        let extents = self.extents(growth, wish).await?;
        for group in &wish.wait_for {
            let behind = growth.readers.behind(group, &wish.topic, &extents).await;
            if let Some(behind) = behind.map_err(silent(group))?
                && behind.records > NEAR
            {
                return Err(NotYet::Behind(group.clone(), behind));
            }
        }
        Ok(())
    }

    /// Waits, within a bound, until every group has read what there is.
    async fn barrier(&self, growth: &mut Growth, wish: &Wish) -> Result<(), NotYet> {
        let begun = Instant::now();
        let extents = self.extents(growth, wish).await?;
        for group in &wish.wait_for {
            loop {
                let behind = growth.readers.behind(group, &wish.topic, &extents).await;
                match behind.map_err(|source| NotYet::Silent(group.clone(), source))? {
                    None => break,
                    Some(behind) if begun.elapsed() >= self.options.grow_within => {
                        return Err(NotYet::Behind(group.clone(), behind));
                    }
                    Some(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        }
        Ok(())
    }

    /// For whoever asked.
    async fn note(&mut self, wish: &Wish, note: &str) -> Result<(), OutboxError> {
        let patience = self.options.statement_timeout;
        let told = self
            .lease
            .note_growth(&mut self.connection, &wish.topic, note, patience);
        if told.await? {
            tracing::info!(source = %self.lease.source, topic = wish.topic, note, "topic is to grow");
        }
        Ok(())
    }

    async fn extents(&self, growth: &mut Growth, wish: &Wish) -> Result<Extents, NotYet> {
        let extents = growth.readers.extents(&wish.topic, wish.partitions).await;
        extents.map_err(|source| NotYet::Silent(String::new(), source))
    }

    async fn move_keys(&mut self, publisher: &mut Publisher, wish: &Wish) -> Result<(), OutboxError> {
        // Or a crash would publish a window of before once more, to where its keys do not belong any more.
        self.ledger.persisted().await;
        let patience = self.options.statement_timeout;
        if self.lease.grow(&mut self.connection, wish, patience).await? {
            tracing::info!(
                source = %self.lease.source, topic = wish.topic, before = wish.partitions, now = wish.wanted,
                "keys are spread over more partitions"
            );
        }
        // A producer that knows of the new partitions.
        publisher.start_over().await;
        Ok(())
    }
}

impl fmt::Display for NotYet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partitions(found) => write!(f, "the broker has {found} partitions of it"),
            Self::Behind(group, Behind { records, partition }) => write!(
                f,
                "group {group} has {records} records to read, most of them in partition {partition}"
            ),
            Self::Silent(group, error) if group.is_empty() => {
                write!(f, "the broker does not answer: {error}")
            }
            Self::Silent(group, error) => {
                write!(f, "the broker does not tell what group {group} has read: {error}")
            }
        }
    }
}
