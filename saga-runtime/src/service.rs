//! A service: one participant (or several) on one database, run until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use quadrille_process::config::Env;
use quadrille_process::kafka::KafkaSettings;
use quadrille_process::{Health, Process, Status};
use saga_core::{Effect, Participant, RetryPolicy};
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::command::{self, Commands};
use crate::database::{ConnectError, DatabaseConfig};
use crate::doorbell::{Doorbell, Doorbells};
use crate::effect::{self, Perform, Performers};
use crate::engine::{Engine, stuck};
use crate::pause::Pauses;
use crate::prune::{self, Retention};
use crate::store::Store;
use crate::{consumer, grpc, migrate, quarantine, timer};

/// What every service is configured with.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Its database.
    pub database: DatabaseConfig,
    /// The broker.
    pub kafka: KafkaSettings,
    /// Group commit of commands.
    pub commands: command::Options,
    /// The consumer.
    pub consumer: consumer::Options,
    /// Effects.
    pub effects: effect::Options,
    /// What is kept for how long.
    pub retention: Retention,
    /// Relays that hear at once of what was committed.
    pub doorbells: Option<Doorbells>,
}

/// Why a service ended by itself, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No database.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A database that this build cannot use.
    #[error(transparent)]
    Migrate(#[from] migrate::Error),
    /// The consumer ended.
    #[error(transparent)]
    Consumer(#[from] consumer::Error),
    /// No gRPC server.
    #[error(transparent)]
    Grpc(#[from] grpc::Error),
    /// A task of the engine panicked or ended.
    #[error("{what} of {participant} ended by itself")]
    Ended {
        /// Whose.
        participant: &'static str,
        /// Which task.
        what: &'static str,
    },
}

impl ServiceConfig {
    /// Reads what every service needs from the environment.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        let database = DatabaseConfig::from_env(env);
        let kafka = KafkaSettings::from_env(env);
        let mut consumer = consumer::Options::default();
        consumer.workers = env.bounded("CONSUMER_WORKERS", consumer.workers, 1..=64);
        consumer.batch_max = env.bounded("CONSUMER_BATCH_MAX", consumer.batch_max, 1..=10_000);
        consumer.waiting_max = env.bounded("CONSUMER_WAITING_MAX", consumer.waiting_max, 1..=1_000_000);
        consumer.waiting_max_bytes = env.bounded(
            "CONSUMER_WAITING_MAX_BYTES",
            consumer.waiting_max_bytes,
            1..=1024 * 1024 * 1024 * 1024,
        );
        consumer.session_timeout = env.duration_ms("KAFKA_SESSION_TIMEOUT_MS", consumer.session_timeout);
        let mut commands = command::Options::default();
        commands.waiting_max = env.bounded("COMMANDS_WAITING_MAX", commands.waiting_max, 1..=1_000_000);
        commands.workers = env.bounded("COMMANDS_WORKERS", commands.workers, 1..=64);
        commands.batch_max = env.bounded("COMMANDS_BATCH_MAX", commands.batch_max, 1..=10_000);
        let mut effects = effect::Options::default();
        effects.concurrency = env.bounded("EFFECTS_CONCURRENCY", effects.concurrency, 1..=10_000);
        effects.lease_margin = env.duration_ms("EFFECTS_LEASE_MARGIN_MS", effects.lease_margin);
        let doorbells = env.optional(
            "RELAY_DOORBELLS",
            "host:port[,host:port…] of relays to ring after a commit; their RELAY_DOORBELL_LISTEN",
        );
        Some(Self {
            database: database?,
            kafka: kafka?,
            commands,
            consumer,
            effects,
            doorbells,
            retention: Retention::default(),
        })
    }
}

/// A service that is being put together.
#[derive(Debug)]
pub struct Service {
    config: ServiceConfig,
    /// Which of several processes of the service this is.
    instance: String,
    durable: PgPool,
    background: PgPool,
    pauses: Pauses,
    health: Health,
    /// Ends everything at once.
    stop: CancellationToken,
    grace: Duration,
    doorbell: Option<Arc<Doorbell>>,
    tasks: JoinSet<Result<(), Error>>,
}

/// A participant that is being added to a service.
#[derive(Debug)]
pub struct Member<'s, P: Participant, S> {
    service: &'s mut Service,
    engine: Arc<Engine<P, S>>,
    performers: Performers,
}

/// What the rest of the service needs of its participant.
#[derive(Debug)]
pub struct Handle<P: Participant> {
    /// Takes commands.
    pub commands: Commands<P>,
    changes: broadcast::Sender<P::Key>,
}

impl<P: Participant> Clone for Handle<P> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            changes: self.changes.clone(),
        }
    }
}

impl<P: Participant> Handle<P> {
    /// Keys of sagas whose state this process changed, from now on. A hint: other processes change sagas
    /// too, and who is too slow misses some. So look again from time to time.
    pub fn changes(&self) -> broadcast::Receiver<P::Key> {
        self.changes.subscribe()
    }
}

impl Service {
    /// Connects, migrates if it may, and checks that the tables are those of this build.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::Migrate`].
    pub async fn connect(
        config: ServiceConfig,
        migrations: &Migrator,
        process: &Process,
    ) -> Result<Self, Error> {
        process.health.required("database");
        process.health.informative("kafka");
        process.health.informative("consumer");
        process.health.set("consumer", Status::Up);
        process.health.informative(stuck::CHECK);
        process.health.set(stuck::CHECK, Status::Up);
        if let Some(owner) = &config.database.migrate_url {
            let owner = PgPool::connect_lazy_with(owner.primary(config.database.acquire_timeout).await?);
            migrate::apply(&owner, migrations).await?;
            owner.close().await;
        }
        let durable = config.database.durable_pool(process.about.name).await?;
        let background = config.database.background_pool(process.about.name).await?;
        migrate::check(&durable, migrations).await?;
        process.health.set("database", Status::Up);
        let mut service = Self {
            config,
            instance: process.instance.clone(),
            durable,
            background,
            pauses: Pauses::default(),
            health: process.health.clone(),
            stop: process.shutdown.clone(),
            grace: process.grace,
            doorbell: None,
            tasks: JoinSet::new(),
        };
        service.watch();
        if let Some(to) = service.config.doorbells.clone() {
            let (doorbell, outbox) = (Arc::<Doorbell>::default(), process.about.name.to_owned());
            let carry = Arc::clone(&doorbell).carry(to, outbox, service.stop.clone());
            service.task(async move {
                carry.await;
                Ok(())
            });
            service.doorbell = Some(doorbell);
        }
        Ok(service)
    }

    /// Connections whose commits are on disk before they return. For reads, too.
    pub fn pool(&self) -> &PgPool {
        &self.durable
    }

    /// Adds a participant.
    pub fn participant<P: Participant, S: Store<P>>(&mut self, participant: P, store: S) -> Member<'_, P, S> {
        let engine = Engine::new(
            participant,
            store,
            &self.config.kafka.prefix,
            self.health.clone(),
            self.doorbell.clone(),
        );
        Member {
            service: self,
            engine,
            performers: Performers::default(),
        }
    }

    /// Adds a task of the service's own, such as its gRPC server. Its end before the shutdown ends the service.
    pub fn task(&mut self, task: impl Future<Output = Result<(), Error>> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Runs until the process is told to stop: then nothing new is taken, what was begun is finished, and
    /// the group is left.
    ///
    /// # Errors
    /// What ended it otherwise.
    pub async fn run(mut self) -> Result<(), Error> {
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended.unwrap_or(Err(Error::Ended {
                participant: "service",
                what: "a task",
            }));
            if !self.stop.is_cancelled() {
                let ended = ended.and(Err(Error::Ended {
                    participant: "service",
                    what: "a task",
                }));
                result = result.and(ended);
                self.stop.cancel();
            }
        }
        let closed = async { tokio::join!(self.durable.close(), self.background.close()) };
        if tokio::time::timeout(self.grace, closed).await.is_err() {
            tracing::warn!("connections to the database are still in use; they end with the process");
        }
        result
    }

    /// Keeps an eye on the database, and on what operators have paused.
    fn watch(&mut self) {
        let (database, pool, background) = (
            self.config.database.clone(),
            self.durable.clone(),
            self.background.clone(),
        );
        let (pauses, health, stop) = (self.pauses.clone(), self.health.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            while !stop.is_cancelled() {
                let status = match pauses.refresh(&pool).await {
                    Ok(()) => Status::Up,
                    Err(error) => Status::Down(error.to_string()),
                };
                let lost = status != Status::Up;
                health.set("database", status);
                let rest = async {
                    if lost && let Err(error) = database.follow([&pool, &background]).await {
                        health.set("database", Status::Down(error.to_string()));
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                };
                tokio::select! {
                    () = rest => {}
                    () = stop.cancelled() => {}
                }
            }
            Ok(())
        });
    }
}

impl<P: Participant, S: Store<P>> Member<'_, P, S> {
    /// Who performs effects of one kind, under the effect's own policy.
    #[must_use]
    pub fn effect<E: Effect>(self, performer: impl Perform<E>) -> Self {
        self.effect_with(performer, E::POLICY)
    }

    /// The same under another policy.
    #[must_use]
    pub fn effect_with<E: Effect>(mut self, performer: impl Perform<E>, policy: RetryPolicy) -> Self {
        self.performers.add(performer, policy);
        self
    }

    /// Starts consuming, timers, effects, commands and pruning.
    pub fn start(self) -> Handle<P> {
        let Self {
            service,
            engine,
            performers,
        } = self;
        let Service {
            config,
            instance,
            durable,
            background,
            pauses,
            health,
            stop,
            grace,
            tasks,
            ..
        } = service;
        let (commands, requests) = Commands::new(config.commands);
        let requests = Arc::new(tokio::sync::Mutex::new(requests));
        for _ in 0..config.commands.workers.max(1) {
            let work = command::work(
                Arc::clone(&engine),
                durable.clone(),
                Arc::clone(&requests),
                config.commands.batch_max,
                stop.clone(),
            );
            tasks.spawn(async move {
                work.await;
                Ok(())
            });
        }
        let setting = consumer::Setting {
            pool: background.clone(),
            kafka: config.kafka.clone(),
            options: config.consumer,
            instance: instance.clone(),
            pauses: pauses.clone(),
            health: health.clone(),
        };
        let consume = consumer::run(Arc::clone(&engine), setting, stop.clone());
        tasks.spawn(async move { consume.await.map_err(Error::from) });
        let fire = timer::run(
            Arc::clone(&engine),
            background.clone(),
            pauses.clone(),
            stop.clone(),
        );
        let executor = effect::Executor {
            pool: background.clone(),
            durable: durable.clone(),
            performers,
            options: config.effects,
            pauses: pauses.clone(),
            grace: *grace / 2,
        };
        let perform = effect::run(Arc::clone(&engine), executor, stop.clone());
        let replay = quarantine::replay::serve(Arc::clone(&engine), background.clone(), stop.clone());
        let prune = prune::run(
            Arc::clone(&engine),
            background.clone(),
            config.retention,
            stop.clone(),
        );
        tasks.spawn(async move {
            tokio::join!(fire, perform, replay, prune);
            Ok(())
        });
        Handle {
            commands,
            changes: engine.changes.clone(),
        }
    }
}
