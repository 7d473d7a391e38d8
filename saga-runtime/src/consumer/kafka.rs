//! The thread that polls Kafka: rebalances, hands records to workers, and never blocks on one of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use quadrille_process::kafka::KafkaSettings;
use quadrille_process::{Health, Status};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message as _};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::consumer::queue::Sender;
use crate::consumer::worker::{Message, Order, Partition};
use crate::consumer::{Error, Options};
use crate::engine::offsets::{self, Place};
use crate::error::Backoff;
use crate::metrics as names;
use crate::pause::Pauses;
use crate::record::Record;

/// How long one poll waits when there is nothing.
const POLL: Duration = Duration::from_millis(50);
/// How often offsets are committed to Kafka, for people and their tools.
const COMMIT: Duration = Duration::from_secs(1);

pub(crate) struct Poll {
    pub(crate) participant: &'static str,
    pub(crate) consumer: String,
    pub(crate) topics: Vec<String>,
    pub(crate) settings: KafkaSettings,
    pub(crate) options: Options,
    pub(crate) instance: String,
    pub(crate) workers: Vec<Sender>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) pauses: Pauses,
    pub(crate) pool: PgPool,
    pub(crate) health: Health,
    pub(crate) stop: CancellationToken,
    pub(crate) runtime: tokio::runtime::Handle,
}

/// What rebalances brought, for the polling loop to pass on in order.
#[derive(Default)]
struct Rebalances(Mutex<VecDeque<Rebalance>>);

enum Rebalance {
    Assigned(BTreeMap<Partition, Place>),
    Revoked(Vec<Partition>),
}

struct Context {
    participant: &'static str,
    consumer: String,
    rebalances: Arc<Rebalances>,
    pool: PgPool,
    health: Health,
    runtime: tokio::runtime::Handle,
    stop: CancellationToken,
    /// Next offset to apply, to compute the lag from.
    applied: Arc<Mutex<BTreeMap<Partition, i64>>>,
    /// What librdkafka has been told to pause.
    paused: Mutex<BTreeSet<Partition>>,
}

impl Poll {
    pub(crate) fn run(self) -> Result<(), Error> {
        let applied = Arc::new(Mutex::new(BTreeMap::new()));
        let rebalances = Arc::new(Rebalances::default());
        let context = Context {
            participant: self.participant,
            consumer: self.consumer.clone(),
            rebalances: Arc::clone(&rebalances),
            pool: self.pool.clone(),
            health: self.health.clone(),
            runtime: self.runtime.clone(),
            stop: self.stop.clone(),
            applied: Arc::clone(&applied),
            paused: Mutex::default(),
        };
        let failed = |source| Error::Create {
            consumer: self.consumer.clone(),
            source,
        };
        let consumer: BaseConsumer<Context> = self.config().create_with_context(context).map_err(failed)?;
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(failed)?;

        let mut state = State {
            assigned: BTreeSet::new(),
            stopped: BTreeSet::new(),
            held: BTreeSet::new(),
            seeks: BTreeMap::new(),
        };
        let mut committed = Instant::now();
        let mut to_commit: BTreeMap<Partition, i64> = BTreeMap::new();
        let result = loop {
            if self.stop.is_cancelled() {
                break Ok(());
            }
            self.obey(&consumer, &mut state, &mut to_commit, &applied);
            let records = match self.poll(&consumer, &rebalances, &mut state) {
                Ok(records) => records,
                Err(source) => {
                    break Err(Error::Fatal {
                        consumer: self.consumer.clone(),
                        source,
                    });
                }
            };
            for (worker, records) in self.sort(records) {
                self.workers[worker].send(Message::Records(records));
            }
            if self.workers.iter().any(Sender::is_gone) {
                // Its partitions would wait for ever, and nobody would know.
                break Err(Error::Panicked {
                    consumer: self.consumer.clone(),
                });
            }
            self.hold(&consumer, &mut state);
            if committed.elapsed() >= COMMIT {
                committed = Instant::now();
                commit(&consumer, &mut to_commit, CommitMode::Async);
            }
        };
        // The workers' boxes close; they finish what they have and are waited for by the caller, whose last
        // orders say what was applied.
        drop(self.workers);
        while let Ok(order) = self.orders.recv() {
            if let Order::Applied(partition, next) = order {
                to_commit.insert(partition, next);
            }
        }
        commit(&consumer, &mut to_commit, CommitMode::Sync);
        consumer.unsubscribe();
        result
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        for (key, value) in [
            ("fetch.queue.backoff.ms", "5"),
            ("fetch.wait.max.ms", "100"),
            ("queued.max.messages.kbytes", "16384"),
            ("statistics.interval.ms", "2000"),
            ("reconnect.backoff.max.ms", "2000"),
            ("heartbeat.interval.ms", "1000"),
        ] {
            config.set(key, value);
        }
        for (key, value) in self.settings.client_properties() {
            config.set(key, value);
        }
        // After the user's settings: these are what the guarantees rest on.
        config
            .set("group.id", &self.consumer)
            .set("client.id", format!("{}-{}", self.consumer, self.instance))
            .set(
                "group.instance.id",
                format!("{}-{}", self.consumer, self.instance),
            )
            .set(
                "session.timeout.ms",
                self.options.session_timeout.as_millis().to_string(),
            )
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "false");
        config
    }

    /// Polls until there is a batch or nothing more at hand. Rebalances that happened meanwhile are passed on
    /// before the records that came after them.
    fn poll(
        &self,
        consumer: &BaseConsumer<Context>,
        rebalances: &Rebalances,
        state: &mut State,
    ) -> Result<Vec<Arc<Record>>, KafkaError> {
        let mut records = Vec::new();
        let mut wait = POLL;
        while records.len() < self.options.batch_max {
            let polled = consumer.poll(wait);
            self.pass_on(rebalances, state);
            wait = Duration::ZERO;
            match polled {
                None => break,
                Some(Ok(message)) => records.push(Arc::new(own(&message))),
                Some(Err(error)) => self.on_error(error)?,
            }
        }
        Ok(records)
    }

    fn on_error(&self, error: KafkaError) -> Result<(), KafkaError> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::FencedInstanceId) => return Err(error),
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                tracing::error!(
                    participant = self.participant, %error,
                    "the log does not hold the offset that was read last; the partition stops, since to go on \
                     would lose or repeat records: see docs/operations.md"
                );
                self.health
                    .set("consumer", Status::Down(format!("offset out of range: {error}")));
            }
            _ => {
                tracing::warn!(participant = self.participant, %error, "the broker is away or refuses; polling on");
                self.health.set("kafka", Status::Down(error.to_string()));
            }
        }
        Ok(())
    }

    fn pass_on(&self, rebalances: &Rebalances, state: &mut State) {
        let mut waiting = rebalances.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(rebalance) = waiting.pop_front() {
            match rebalance {
                Rebalance::Assigned(places) => {
                    self.health.set("kafka", Status::Up);
                    state.assigned.extend(places.keys().cloned());
                    for (worker, places) in split(places, |(partition, _)| self.worker(partition.1)) {
                        self.workers[worker].send(Message::Assigned(places.into_iter().collect()));
                    }
                }
                Rebalance::Revoked(partitions) => {
                    for partition in &partitions {
                        state.forget(partition);
                    }
                    for (worker, partitions) in split(partitions, |partition| self.worker(partition.1)) {
                        self.workers[worker].send(Message::Revoked(partitions));
                    }
                }
            }
        }
    }

    /// Does what the workers asked for.
    fn obey(
        &self,
        consumer: &BaseConsumer<Context>,
        state: &mut State,
        to_commit: &mut BTreeMap<Partition, i64>,
        applied: &Mutex<BTreeMap<Partition, i64>>,
    ) {
        for order in self.orders.try_iter() {
            match order {
                Order::Applied(partition, next) => {
                    applied
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(partition.clone(), next);
                    to_commit.insert(partition, next);
                }
                Order::Stop(partition) => {
                    pause(consumer, [&partition]);
                    state.stopped.insert(partition);
                }
                Order::Seek(partition, offset) => {
                    state.seeks.insert(partition, offset);
                }
            }
        }
        let assigned = &state.assigned;
        state.seeks.retain(|partition, _| assigned.contains(partition));
        // What fails stays in the map and is tried again with the next poll.
        state.seeks.retain(|partition, offset| {
            match consumer.seek(&partition.0, partition.1, place(*offset), Duration::from_secs(1)) {
                Ok(()) => {
                    self.workers[self.worker(partition.1)].send(Message::Sought(partition.clone()));
                    false
                }
                Err(error) => {
                    tracing::warn!(participant = self.participant, ?partition, %error, "cannot seek; trying again");
                    true
                }
            }
        });
    }

    fn sort(&self, records: Vec<Arc<Record>>) -> BTreeMap<usize, Vec<Arc<Record>>> {
        split(records, |record| self.worker(record.partition))
    }

    /// Back-pressure: the partitions of a worker for which too many records wait are paused until half of them are
    /// done. (librdkafka throws away what it has fetched of a partition that is paused: not for a moment's sake.)
    /// So are all of them while an operator has paused the participant.
    fn hold(&self, consumer: &BaseConsumer<Context>, state: &mut State) {
        let paused = self.pauses.is_paused(self.participant, crate::pause::ALL);
        let is_behind = |partition: &Partition| {
            let bound = if state.held.contains(partition) {
                self.options.waiting_max / 2
            } else {
                self.options.waiting_max
            };
            self.workers[self.worker(partition.1)].waiting() > bound
        };
        let wanted: BTreeSet<Partition> = state
            .assigned
            .iter()
            .filter(|partition| paused || is_behind(partition))
            .filter(|partition| !state.stopped.contains(*partition))
            .cloned()
            .collect();
        pause(consumer, wanted.difference(&state.held));
        resume(consumer, state.held.difference(&wanted));
        state.held = wanted;
    }

    fn worker(&self, partition: i32) -> usize {
        usize::try_from(partition).unwrap_or(0) % self.workers.len()
    }
}

struct State {
    assigned: BTreeSet<Partition>,
    /// Stopped for good: a hole.
    stopped: BTreeSet<Partition>,
    /// Paused for a while.
    held: BTreeSet<Partition>,
    /// To be read from another offset.
    seeks: BTreeMap<Partition, i64>,
}

impl State {
    fn forget(&mut self, partition: &Partition) {
        self.assigned.remove(partition);
        self.stopped.remove(partition);
        self.held.remove(partition);
        self.seeks.remove(partition);
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

impl Context {
    fn note(&self, rebalance: Rebalance) {
        self.rebalances
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(rebalance);
    }

    /// Waits for the database as long as it takes: without it nothing could be applied anyway.
    fn places(&self, names: &[Partition]) -> Option<BTreeMap<Partition, Place>> {
        self.runtime.block_on(async {
            let mut backoff = Backoff::of_infrastructure();
            loop {
                match offsets::read(&self.pool, &self.consumer, names).await {
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

fn place(next_offset: i64) -> Offset {
    if next_offset == offsets::BEGINNING {
        Offset::Beginning
    } else {
        Offset::Offset(next_offset)
    }
}

fn own(message: &rdkafka::message::BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers
            .iter()
            .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
            .collect()
    });
    Record {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        headers,
        payload: message.payload().map(<[u8]>::to_vec),
    }
}

fn split<T>(items: impl IntoIterator<Item = T>, worker: impl Fn(&T) -> usize) -> BTreeMap<usize, Vec<T>> {
    let mut parts: BTreeMap<usize, Vec<T>> = BTreeMap::new();
    for item in items {
        parts.entry(worker(&item)).or_default().push(item);
    }
    parts
}

fn list<'p>(partitions: impl IntoIterator<Item = &'p Partition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    list
}

fn pause<'p>(consumer: &BaseConsumer<Context>, partitions: impl IntoIterator<Item = &'p Partition>) {
    let mut paused = paused(consumer);
    let new: Vec<&Partition> = partitions
        .into_iter()
        .filter(|one| !paused.contains(*one))
        .collect();
    let list = list(new.iter().copied());
    if list.count() > 0
        && let Err(error) = consumer.pause(&list)
    {
        tracing::warn!(%error, "cannot pause partitions");
    }
    paused.extend(new.into_iter().cloned());
}

/// Only what is paused: librdkafka drops records that it has fetched when it resumes a partition that is not.
fn resume<'p>(consumer: &BaseConsumer<Context>, partitions: impl IntoIterator<Item = &'p Partition>) {
    let mut paused = paused(consumer);
    let free: Vec<&Partition> = partitions.into_iter().filter(|one| paused.remove(*one)).collect();
    let list = list(free);
    if list.count() > 0
        && let Err(error) = consumer.resume(&list)
    {
        tracing::warn!(%error, "cannot resume partitions");
    }
}

fn paused(consumer: &BaseConsumer<Context>) -> MutexGuard<'_, BTreeSet<Partition>> {
    consumer
        .context()
        .paused
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

fn commit(consumer: &BaseConsumer<Context>, offsets: &mut BTreeMap<Partition, i64>, mode: CommitMode) {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), next) in std::mem::take(offsets) {
        if let Err(error) = list.add_partition_offset(&topic, partition, Offset::Offset(next)) {
            tracing::debug!(%error, "an offset cannot be listed");
        }
    }
    if list.count() > 0
        && let Err(error) = consumer.commit(&list, mode)
    {
        // For people and their tools only: what counts stands in PostgreSQL.
        tracing::debug!(%error, "offsets were not committed to kafka");
    }
}
