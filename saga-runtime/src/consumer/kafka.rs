//! The thread that polls Kafka: rebalances, hands records to workers, and never blocks on one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use quadrille_process::fault::{self, About, Point};
use quadrille_process::kafka::KafkaSettings;
use quadrille_process::{Health, Status};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message as _};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::consumer::closing;
use crate::consumer::group::{self, Context, Rebalance, Rebalances};
use crate::consumer::queue::Sender;
use crate::consumer::worker::{Message, Order, Partition};
use crate::consumer::{Error, Options};
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
            seeks: BTreeMap::new(),
            behind: 0,
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
                Err(source) => break Err(self.ended(&consumer, source)),
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
                let whose = || vec![About::only(self.participant)];
                let reached = fault::reach(Point::ConsumerBeforeOffsets, whose);
                if self.runtime.block_on(reached).is_ok() {
                    closing::commit(&consumer, &mut to_commit, CommitMode::Async);
                }
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
        closing::leave(self.participant, consumer, to_commit, closing::LEAVE);
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
            // How soon partitions are read that a topic has got since.
            ("topic.metadata.refresh.interval.ms", "10000"),
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
        let mut bytes = 0;
        while records.len() < self.options.batch_max && bytes < self.options.waiting_max_bytes {
            let polled = consumer.poll(wait);
            self.pass_on(rebalances, state);
            wait = Duration::ZERO;
            match polled {
                None => break,
                Some(Ok(message)) => {
                    let record = own(&message);
                    bytes += record.bytes();
                    records.push(Arc::new(record));
                }
                Some(Err(error)) => self.on_error(error)?,
            }
        }
        Ok(records)
    }

    fn ended(&self, client: &BaseConsumer<Context>, source: KafkaError) -> Error {
        let fenced = Some(RDKafkaErrorCode::FencedInstanceId);
        // What it polls for the end of a client is `Fatal`, whatever the cause.
        let cause = client.client().fatal_error().map(|(code, _)| code);
        let consumer = self.consumer.clone();
        if cause == fenced || source.rdkafka_error_code() == fenced {
            Error::Fenced {
                consumer,
                instance: self.instance.clone(),
            }
        } else {
            Error::Fatal { consumer, source }
        }
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
                // The client reads no more of it, until it is assigned anew.
                names::partition_stopped(self.participant, &self.consumer);
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
        while let Some(rebalance) = rebalances.next() {
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
            match consumer.seek(&partition.0, partition.1, group::place(*offset), Duration::from_secs(1)) {
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

    /// Pauses what is not to be read, and resumes what is paused and may be read.
    ///
    /// Not to be read are partitions that stopped for good; all of them while an operator has paused the participant;
    /// and, as back-pressure, those of a worker for which too many records or bytes wait, until half of these are done:
    /// librdkafka throws away what it has fetched of a partition that is paused, so not for a moment's sake.
    fn hold(&self, consumer: &BaseConsumer<Context>, state: &mut State) {
        let is_paused = self.pauses.is_paused(self.participant, crate::pause::ALL);
        let held = consumer.context().paused();
        let is_behind = |partition: &Partition| {
            let part = if held.contains(partition) { 2 } else { 1 };
            let worker = &self.workers[self.worker(partition.1)];
            worker.waiting() > self.options.waiting_max / part
                || worker.waiting_bytes() > self.options.waiting_max_bytes / part
        };
        let behind = state
            .assigned
            .iter()
            .filter(|partition| is_behind(partition))
            .count();
        let wanted: BTreeSet<Partition> = state
            .assigned
            .iter()
            .filter(|partition| is_paused || state.stopped.contains(*partition) || is_behind(partition))
            .cloned()
            .collect();
        if behind != state.behind {
            state.behind = behind;
            #[allow(clippy::cast_precision_loss)]
            metrics::gauge!(names::PARTITIONS_HELD, "participant" => self.participant, "consumer" => self.consumer.clone())
                .set(behind as f64);
        }
        group::pause(consumer, &wanted);
        group::resume(consumer, held.difference(&wanted));
    }

    fn worker(&self, partition: i32) -> usize {
        usize::try_from(partition).unwrap_or(0) % self.workers.len()
    }
}

struct State {
    assigned: BTreeSet<Partition>,
    /// Stopped for good: a hole.
    stopped: BTreeSet<Partition>,
    /// To be read from another offset.
    seeks: BTreeMap<Partition, i64>,
    /// How many are held as back-pressure.
    behind: usize,
}

impl State {
    fn forget(&mut self, partition: &Partition) {
        self.assigned.remove(partition);
        self.stopped.remove(partition);
        self.seeks.remove(partition);
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
