use std::time::Duration;

use anyhow::{Context as _, Result};
use local_stack::{Addresses, TestStack};
use outbox_relay::{Handle, Health, Options, Phase, Relay, migrate};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a condition may take. Generous: machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// No word that a log would hold by chance.
pub const PASSWORD: &str = "ofTheTestsRoles";

/// The servers that all tests share.
pub async fn shared() -> Addresses {
    tokio::task::spawn_blocking(|| TestStack::shared().expect("servers for tests").clone())
        .await
        .unwrap()
}

/// A database with an outbox in it, and a name for topics.
#[derive(Clone)]
pub struct Outbox {
    pub servers: Addresses,
    pub name: String,
}

impl Outbox {
    pub async fn new() -> Result<Self> {
        Self::on(shared().await).await
    }

    pub async fn on(servers: Addresses) -> Result<Self> {
        let name = format!("it_{:012x}", rand::random::<u64>() >> 16);
        let outbox = Self { servers, name };
        let mut admin = outbox.admin().await?;
        // Several tests begin at once; roles belong to the whole cluster.
        admin.execute("select pg_advisory_lock(4711)").await?;
        for role in ["it", "it_migrate", "it_relay", "it_ops"] {
            let known: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
                .bind(role)
                .fetch_one(&mut admin)
                .await?;
            if !known {
                run(
                    &mut admin,
                    &format!("create role {role} login password '{PASSWORD}'"),
                )
                .await?;
            }
        }
        run(
            &mut admin,
            &format!("create database {} owner it_migrate", outbox.name),
        )
        .await?;
        admin.close().await?;
        let pool = outbox.pool("it_migrate", 1).await?;
        migrate::outbox(&pool).await?;
        run(
            &mut *pool.acquire().await?,
            "create table agg (key text primary key, v bigint not null default 0)",
        )
        .await?;
        run(
            &mut *pool.acquire().await?,
            "grant select, insert, update on agg to it",
        )
        .await?;
        pool.close().await;
        Ok(outbox)
    }

    /// The superuser, in the database `postgres`.
    pub async fn admin(&self) -> Result<PgConnection> {
        let options: PgConnectOptions = self.servers.postgres_admin_url.parse()?;
        Ok(options.disable_statement_logging().connect().await?)
    }

    pub fn options(&self, role: &str) -> PgConnectOptions {
        let admin: PgConnectOptions = self.servers.postgres_admin_url.parse().unwrap();
        admin
            .username(role)
            .password(PASSWORD)
            .database(&self.name)
            .disable_statement_logging()
    }

    /// For `RELAY_SOURCES`.
    pub fn source(&self) -> String {
        format!("it={}", self.relay_url(PASSWORD))
    }

    /// Of the relay's role, with this password, and with what else the servers ask for.
    pub fn relay_url(&self, password: &str) -> String {
        let (_, server) = self.servers.postgres_admin_url.split_once('@').expect("a login");
        let server = server.replacen("/postgres", &format!("/{}", self.name), 1);
        format!("postgres://it_relay:{password}@{server}")
    }

    /// The superuser, in the outbox's database.
    pub async fn superuser(&self) -> Result<PgConnection> {
        let options: PgConnectOptions = self.servers.postgres_admin_url.parse()?;
        Ok(options
            .database(&self.name)
            .disable_statement_logging()
            .connect()
            .await?)
    }

    pub async fn connect(&self, role: &str) -> Result<PgConnection> {
        self.options(role)
            .connect()
            .await
            .with_context(|| format!("connecting as {role}"))
    }

    pub async fn pool(&self, role: &str, size: u32) -> Result<PgPool> {
        Ok(PgPoolOptions::new()
            .max_connections(size)
            .connect_with(self.options(role))
            .await?)
    }

    pub fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    pub async fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) -> Result<String> {
        self.create_placed_topic(name, partitions, TopicReplication::Fixed(1), config)
            .await
    }

    pub async fn create_placed_topic(
        &self,
        name: &str,
        partitions: i32,
        replication: TopicReplication<'_>,
        config: &[(&str, &str)],
    ) -> Result<String> {
        let topic = self.topic(name);
        let mut new = NewTopic::new(&topic, partitions, replication);
        for (key, value) in config {
            new = new.set(key, value);
        }
        let made = self
            .kafka_admin()
            .create_topics([&new], &AdminOptions::new())
            .await?;
        for one in made {
            one.map_err(|(topic, code)| anyhow::anyhow!("creating {topic}: {code}"))?;
        }
        Ok(topic)
    }

    /// What else was set of the topic is reset.
    pub async fn alter_topic(&self, topic: &str, key: &str, value: &str) -> Result<()> {
        self.configure_topic(topic, [(key, value)]).await
    }

    pub async fn configure_topic<'c>(
        &self,
        topic: &'c str,
        config: impl IntoIterator<Item = (&'c str, &'c str)>,
    ) -> Result<()> {
        let change = AlterConfig {
            specifier: ResourceSpecifier::Topic(topic),
            entries: config.into_iter().collect(),
        };
        for one in self
            .kafka_admin()
            .alter_configs([&change], &AdminOptions::new())
            .await?
        {
            one.map_err(|(topic, code)| anyhow::anyhow!("altering {topic:?}: {code}"))?;
        }
        Ok(())
    }

    fn kafka_admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.servers.kafka_brokers)
            .create()
            .unwrap()
    }

    /// A relay's options with short times, so that tests need not wait.
    pub fn relay(&self, owner: &str) -> Options {
        let kafka = vec![("bootstrap.servers".to_owned(), self.servers.kafka_brokers.clone())];
        let mut options = Options::new("it".parse().unwrap(), self.options("it_relay").into(), kafka);
        options.owner = format!("{owner}-{}", self.name);
        options.lease = Duration::from_secs(2);
        options.persist_every = Duration::from_millis(100);
        options.rotate_every = Duration::from_millis(200);
        options.retry_stopped = (Duration::from_millis(200), Duration::from_secs(1));
        options
    }

    /// One that leaves rows and windows where they are. A leaf may be emptied as soon as the minute has ended, so tests that
    /// look at them afterwards would otherwise find nothing once in a while.
    pub fn relay_that_keeps_rows(&self, owner: &str) -> Options {
        let mut options = self.relay(owner);
        options.rotate_every = Duration::from_secs(3600);
        options
    }

    /// What the relay knows as acknowledged: (epoch, window, highest position).
    pub async fn acked(&self) -> Result<(i64, i64, i64)> {
        let mut connection = self.superuser().await?;
        Ok(
            sqlx::query_as("select epoch, acked_win, acked_highest from saga.relay")
                .fetch_one(&mut connection)
                .await?,
        )
    }
}

/// Appends one event. `None` is a tombstone.
pub async fn append(
    connection: &mut PgConnection,
    topic: &str,
    key: &str,
    r#type: &str,
    payload: Option<&[u8]>,
    headers: &str,
) -> Result<uuid::Uuid> {
    let id = uuid::Uuid::new_v4();
    sqlx::query(
        "insert into saga.outbox (id, aggregatetype, aggregateid, type, payload, headers)
         values ($1, $2, $3, $4, $5, $6::text::jsonb)",
    )
    .bind(id)
    .bind(topic)
    .bind(key)
    .bind(r#type)
    .bind(payload)
    .bind(headers)
    .execute(connection)
    .await?;
    Ok(id)
}

/// A statement made of text, for names that cannot be bound.
pub async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    connection.execute(AssertSqlSafe(sql.to_owned())).await.map(drop)
}

/// A relay at work.
pub struct Running {
    pub handle: Handle,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub fn start(options: Options) -> Self {
        Self::run(Relay::new(options))
    }

    pub fn run(relay: Relay) -> Self {
        let (handle, cancel) = (relay.handle(), CancellationToken::new());
        let task = tokio::spawn(relay.run(cancel.clone()));
        Self { handle, cancel, task }
    }

    /// As SIGTERM does.
    pub async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("stops within its bound")
            .unwrap();
    }

    /// As a crash does: its tasks vanish where they are, and what is in memory with them.
    pub async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }

    pub async fn until(&self, what: &str, condition: impl FnMut(&Phase) -> bool) {
        let mut phase = self.handle.phase();
        tokio::time::timeout(PATIENCE, phase.wait_for(condition))
            .await
            .unwrap_or_else(|_| panic!("{what}: still {:?}", *self.handle.phase().borrow()))
            .unwrap();
    }

    pub async fn until_publishing(&self) {
        self.until("publishes", |phase| *phase == Phase::Publishing).await;
    }
}

/// Waits for a condition, by asking again and again.
pub async fn eventually<F, C>(what: &str, mut condition: C)
where
    F: Future<Output = bool>,
    C: FnMut() -> F,
{
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "did not come to pass: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a relay says that it is down for a reason that holds `words`.
pub async fn until_down(running: &Running, words: &str) {
    eventually(&format!("down: {words}"), || async {
        matches!(running.handle.health(), Health::Down(reason) if reason.contains(words))
    })
    .await;
}
