//! What librdkafka calls back, and what it has been told: rebalances, statistics, pauses.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quadrille_process::fault::{self, About, Point};
use quadrille_process::{Health, Status};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::consumer::worker::Partition;
use crate::engine::offsets::{self, Place};
use crate::error::Backoff;
use crate::metrics as names;

/// What a consumer's callbacks know.
pub(crate) struct Context {
    pub(crate) participant: &'static str,
    pub(crate) consumer: String,
    pub(crate) rebalances: Arc<Rebalances>,
    pub(crate) pool: PgPool,
    pub(crate) health: Health,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) stop: CancellationToken,
    /// Next offset to apply, to compute the lag from.
    pub(crate) applied: Arc<Mutex<BTreeMap<Partition, i64>>>,
    /// What librdkafka has been told to pause.
    pub(crate) paused: Mutex<BTreeSet<Partition>>,
}

/// What rebalances brought, for the polling loop to pass on in order.
#[derive(Default)]
pub(crate) struct Rebalances(Mutex<VecDeque<Rebalance>>);

pub(crate) enum Rebalance {
    Assigned(BTreeMap<Partition, Place>),
    Revoked(Vec<Partition>),
}

/// Pauses those of the partitions that are not paused.
pub(crate) fn pause<'p>(
    consumer: &BaseConsumer<Context>,
    partitions: impl IntoIterator<Item = &'p Partition>,
) {
    let mut paused = consumer.context().lock_paused();
    let new: Vec<&Partition> = partitions
        .into_iter()
        .filter(|one| !paused.contains(*one))
        .collect();
    if new.is_empty() {
        return;
    }
    match consumer.pause(&list(new.iter().copied())) {
        Ok(()) => paused.extend(new.into_iter().cloned()),
        Err(error) => tracing::warn!(%error, "cannot pause partitions; trying again"),
    }
}

/// Resumes those of the partitions that are paused, and no others: librdkafka drops records that it has fetched when it
/// resumes a partition that is not.
pub(crate) fn resume<'p>(
    consumer: &BaseConsumer<Context>,
    partitions: impl IntoIterator<Item = &'p Partition>,
) {
    let mut paused = consumer.context().lock_paused();
    let free: Vec<&Partition> = partitions
        .into_iter()
        .filter(|one| paused.contains(*one))
        .collect();
    if free.is_empty() {
        return;
    }
    match consumer.resume(&list(free.iter().copied())) {
        Ok(()) => {
            for one in free {
                paused.remove(one);
            }
        }
        Err(error) => tracing::warn!(%error, "cannot resume partitions; trying again"),
    }
}

/// As librdkafka says it.
pub(crate) fn place(next_offset: i64) -> Offset {
    if next_offset == offsets::BEGINNING {
        Offset::Beginning
    } else {
        Offset::Offset(next_offset)
    }
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        for (topic, stats) in &statistics.topics {
            let lag: i64 = stats
                .partitions
                .values()
                .filter_map(|partition| {
                    let next = applied.get(&(topic.clone(), partition.partition))?;
                    (partition.hi_offset >= 0).then(|| (partition.hi_offset - next).max(0))
                })
                .sum();
            #[allow(clippy::cast_precision_loss)]
            metrics::gauge!(names::CONSUMER_LAG, "participant" => self.participant, "topic" => topic.clone())
                .set(lag as f64);
        }
        let up = statistics.brokers.values().any(|broker| broker.state == "UP");
        let status = if up {
            Status::Up
        } else {
            Status::Down("no broker can be reached".to_owned())
        };
        self.health.set("kafka", status);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(participant = self.participant, %error, reason, "kafka");
    }
}

impl ConsumerContext for Context {
    /// Runs on the polling thread. An assignment begins at the offsets that stand in PostgreSQL, whatever
    /// Kafka has been told: state and offset were committed together there.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let names: Vec<Partition> = partitions
            .elements()
            .iter()
            .map(|one| (one.topic().to_owned(), one.partition()))
            .collect();
        if event != RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            tracing::info!(
                participant = self.participant,
                partitions = names.len(),
                "partitions were revoked"
            );
            // It remembers that a partition is paused beyond its leaving, and would not read it when it comes back.
            resume(consumer, &names);
            self.note(Rebalance::Revoked(names));
            if let Err(error) = consumer.incremental_unassign(partitions) {
                tracing::warn!(participant = self.participant, %error, "cannot give partitions up");
            }
            return;
        }
        let Some(places) = self.places(&names) else { return };
        for (partition, stands) in &places {
            let set = partitions.set_partition_offset(&partition.0, partition.1, place(stands.next_offset));
            if let Err(error) = set {
                tracing::warn!(participant = self.participant, %error, "cannot set an offset");
            }
        }
        {
            let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
            applied.extend(
                places
                    .iter()
                    .map(|(partition, place)| (partition.clone(), place.next_offset.max(0))),
            );
        }
        tracing::info!(
            participant = self.participant,
            partitions = places.len(),
            "partitions were assigned"
        );
        self.note(Rebalance::Assigned(places));
        if let Err(error) = consumer.incremental_assign(partitions) {
            tracing::warn!(participant = self.participant, %error, "cannot take partitions");
        }
    }
}

impl Rebalances {
    /// The oldest that was not passed on.
    pub(crate) fn next(&self) -> Option<Rebalance> {
        self.lock().pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Rebalance>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    /// What is paused at this moment.
    pub(crate) fn paused(&self) -> BTreeSet<Partition> {
        self.lock_paused().clone()
    }

    fn lock_paused(&self) -> MutexGuard<'_, BTreeSet<Partition>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, rebalance: Rebalance) {
        self.rebalances.lock().push_back(rebalance);
    }

    /// Waits for the database as long as it takes: without it nothing could be applied anyway.
    fn places(&self, names: &[Partition]) -> Option<BTreeMap<Partition, Place>> {
        self.runtime.block_on(async {
            let mut backoff = Backoff::of_infrastructure();
            loop {
                let read = async {
                    fault::reach(Point::ConsumerBeforePlaces, || vec![About::only(self.participant)])
                        .await
                        .map_err(|injected| sqlx::Error::Protocol(injected.to_string()))?;
                    offsets::read(&self.pool, &self.consumer, names).await
                };
                match read.await {
                    Ok(places) => return Some(places),
                    Err(error) => {
                        tracing::warn!(participant = self.participant, %error, "cannot read places; the assignment waits");
                        tokio::select! {
                            () = tokio::time::sleep(backoff.next_wait()) => {}
                            () = self.stop.cancelled() => return None,
                        }
                    }
                }
            }
        })
    }
}

fn list<'p>(partitions: impl IntoIterator<Item = &'p Partition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    list
}
