//! The consumer of a participant: reads its topics, decides in batches, remembers its place beside the state.
//!
//! One thread polls Kafka and hands records to a few workers; a partition's number says which, so that the
//! events of one saga, whatever their topic, meet in one worker. The place in each partition is a row that
//! moves in the transaction that applies the batch; offsets that are committed to Kafka are for people and
//! their tools only. Who owns a partition is decided by the compare-and-set on that row, not by the group.

mod closing;
mod group;
mod kafka;
mod queue;
pub(crate) mod reading;
mod rejoin;
mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use quadrille_process::Health;
use quadrille_process::kafka::KafkaSettings;
use saga_core::{Participant, input};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::consumer::rejoin::Rejoins;
use crate::database;
use crate::engine::Engine;
use crate::metrics as names;
use crate::pause::Pauses;
use crate::store::Store;

/// How a participant consumes.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Transactions at the same time, each with partitions of its own: half the cores, up to 4. The rest is PostgreSQL's
    /// and Kafka's, and fewer transactions are larger ones, which cost less.
    pub workers: usize,
    /// Records in one transaction.
    pub batch_max: usize,
    /// Records that wait for a worker before its partitions are paused.
    pub waiting_max: usize,
    /// Bytes that wait for a worker before its partitions are paused. A batch is taken on top of that.
    pub waiting_max_bytes: usize,
    /// After how long without a heartbeat the group takes a dead process for dead.
    pub session_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: database::workers(),
            batch_max: 500,
            waiting_max: 5_000,
            waiting_max_bytes: 64 * 1024 * 1024,
            session_timeout: Duration::from_secs(10),
        }
    }
}

/// Why a consumer ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings do not make a consumer.
    #[error("{consumer}: cannot create a Kafka consumer; check KAFKA_PROPERTIES")]
    Create {
        /// Consumer group.
        consumer: String,
        /// What librdkafka said.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// The broker or the group ended it for good.
    #[error("{consumer}: the consumer cannot go on")]
    Fatal {
        /// Consumer group.
        consumer: String,
        /// What librdkafka said.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// Another process has taken this one's place in the group, again and again.
    #[error(
        "{consumer}: the group gives the place of instance '{instance}' to another process; give each its own name: \
         <SERVICE>_INSTANCE"
    )]
    Fenced {
        /// Consumer group.
        consumer: String,
        /// What this process calls itself.
        instance: String,
    },
    /// A thread or task panicked.
    #[error("{consumer}: the consumer panicked")]
    Panicked {
        /// Consumer group.
        consumer: String,
    },
}

/// What a consumer works with.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// For batches: their commits may be lost, the offset is then lost with them and the batch comes again.
    pub(crate) pool: PgPool,
    pub(crate) kafka: KafkaSettings,
    pub(crate) options: Options,
    /// This process's name in the group: it keeps its partitions over a restart that is shorter than the
    /// session timeout. Two processes with one name throw each other out.
    pub(crate) instance: String,
    pub(crate) pauses: Pauses,
    pub(crate) health: Health,
}

/// Consumes until it is told to stop: then it finishes the batches at hand, commits, and leaves the group.
pub(crate) async fn run<P: Participant, S: Store<P>>(
    engine: Arc<Engine<P, S>>,
    setting: Setting,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut rejoins = Rejoins::default();
    loop {
        let ended = once(Arc::clone(&engine), setting.clone(), stop.clone()).await;
        let Err(Error::Fenced { consumer, instance }) = &ended else {
            return ended;
        };
        if stop.is_cancelled() || !rejoins.may(Instant::now()) {
            return ended;
        }
        tracing::warn!(
            consumer,
            instance,
            "the group took this process for another one of its name; joining again"
        );
        metrics::counter!(names::CONSUMER_REJOINS, "participant" => P::NAME, "consumer" => engine.consumer.clone())
            .increment(1);
    }
}

/// From joining the group to leaving it.
async fn once<P: Participant, S: Store<P>>(
    engine: Arc<Engine<P, S>>,
    setting: Setting,
    stop: CancellationToken,
) -> Result<(), Error> {
    let Setting {
        pool,
        kafka: settings,
        options,
        instance,
        pauses,
        health,
    } = setting;
    let topics: Vec<String> = input::topics::<P::Input>()
        .into_iter()
        .map(|topic| settings.prefixed(topic))
        .collect();
    if topics.is_empty() {
        stop.cancelled().await;
        return Ok(());
    }
    let (orders, mut senders) = (std::sync::mpsc::channel(), Vec::new());
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..options.workers.max(1) {
        let (sender, inbox) = queue::queue(options.batch_max);
        senders.push(sender);
        workers.spawn(worker::run(
            Arc::clone(&engine),
            pool.clone(),
            inbox,
            orders.0.clone(),
            health.clone(),
            stop.clone(),
        ));
    }
    drop(orders.0);
    let consumer = engine.consumer.clone();
    let poll = kafka::Poll {
        participant: P::NAME,
        consumer: consumer.clone(),
        topics,
        settings,
        options,
        instance,
        workers: senders,
        orders: orders.1,
        pauses,
        pool,
        health,
        stop,
        runtime: tokio::runtime::Handle::current(),
    };
    // librdkafka calls back on the thread that polls, and the rebalance callback has to ask PostgreSQL.
    let polled = tokio::task::spawn_blocking(move || poll.run());
    let result = polled.await.map_err(|_| Error::Panicked {
        consumer: consumer.clone(),
    })?;
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|_| Error::Panicked {
            consumer: consumer.clone(),
        })?;
    }
    result
}
