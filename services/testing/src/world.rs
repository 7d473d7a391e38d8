use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use quadrille_process::config::Env;
use quadrille_process::telemetry::{Telemetry, TelemetryConfig};
use quadrille_process::{About, Health, Process};
use saga_core::Event;
use serde_json::Value;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::database::Database;
use crate::events::Topics;

/// Nothing that a test waits for takes so long, whatever else the machine does.
pub const PATIENCE: Duration = Duration::from_secs(60);

const PUBLISHED: &str = "\
select type, convert_from(payload, 'UTF8')::jsonb from saga.outbox where aggregateid = $1 order by position";

/// A database and topics of its own for one test of a service.
pub struct World {
    service: &'static str,
    prefix: String,
    admin_url: String,
    brokers: String,
    database: Database,
    topics: Topics,
    /// As the service's own role.
    pub pool: PgPool,
}

impl World {
    /// `service` is the name of its roles; `topics` are those that it consumes, without the prefix. The tables
    /// are there: its own, the engine's and the outbox.
    ///
    /// # Errors
    /// If a server is not there, or does not do as it is told.
    pub async fn new(service: &'static str, migrations: &Migrator, topics: &[&str]) -> Result<Self> {
        quadrille_process::tls::install_crypto();
        let servers = tokio::task::spawn_blocking(local_stack::TestStack::shared)
            .await?
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        let prefix = format!("t{}-", Uuid::new_v4().simple());
        let database =
            Database::create(&servers.postgres_admin_url, service, format!("{prefix}{service}")).await?;
        let owner = PgPool::connect(&database.url("_migrate")).await?;
        saga_runtime::migrate::apply(&owner, migrations).await?;
        owner.close().await;
        let topics = Topics::create(&servers.kafka_brokers, &prefix, topics).await?;
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .connect(&database.url(""))
            .await?;
        Ok(Self {
            service,
            prefix,
            admin_url: servers.postgres_admin_url.clone(),
            brokers: servers.kafka_brokers.clone(),
            database,
            topics,
            pool,
        })
    }

    /// A second database, for somebody whom the service talks to.
    ///
    /// # Errors
    /// If the server does not make it.
    pub async fn neighbour(&self, service: &'static str) -> Result<Database> {
        Database::create(&self.admin_url, service, format!("{}{service}", self.prefix)).await
    }

    /// The database as one of the service's roles, by its suffix: `""`, `_migrate`, `_relay`, `_ops`.
    pub fn url(&self, suffix: &str) -> String {
        self.database.url(suffix)
    }

    /// What the service is told, with free ports; `own` comes on top, without the service's prefix.
    pub fn env(&self, own: &[(&str, &str)]) -> Env {
        let prefix = self.service.to_uppercase();
        let url = self.url("");
        let mut all = vec![
            ("DATABASE_URL", url.as_str()),
            ("KAFKA_BROKERS", &self.brokers),
            ("KAFKA_SESSION_TIMEOUT_MS", "2000"),
            ("PREFIX", &self.prefix),
            ("INSTANCE", "test"),
            ("GRPC_LISTEN", "127.0.0.1:0"),
        ];
        all.extend_from_slice(own);
        let named = all
            .into_iter()
            .map(|(key, value)| (format!("{prefix}_{key}"), value.to_owned()));
        Env::from_pairs(&prefix, named)
    }

    /// A process for the service to run in, which a test ends with its token.
    ///
    /// # Errors
    /// If telemetry cannot be set up.
    pub fn process(&self) -> Result<Process> {
        let (telemetry, _) = Telemetry::build(&TelemetryConfig::quiet(self.service))?;
        Ok(Process {
            about: About {
                name: self.service,
                prefix: "TEST",
                version: "0",
                summary: "a test",
            },
            instance: "test".to_owned(),
            shutdown: CancellationToken::new(),
            grace: Duration::from_secs(10),
            health: Health::new(),
            telemetry,
            admin: None,
        })
    }

    /// Sends an event, under a new id.
    ///
    /// # Errors
    /// If the broker does not take it.
    pub async fn send<E: Event>(&self, event: &E) -> Result<()> {
        self.send_as(Uuid::new_v4(), event).await
    }

    /// Sends an event. A second one with the same id is the first once more.
    ///
    /// # Errors
    /// If the broker does not take it.
    pub async fn send_as<E: Event>(&self, id: Uuid, event: &E) -> Result<()> {
        self.topics.send(id, event).await
    }

    /// Sends anything.
    ///
    /// # Errors
    /// If the broker does not take it.
    pub async fn send_raw(
        &self,
        topic: &str,
        key: &str,
        headers: &[(&str, &str)],
        payload: &[u8],
    ) -> Result<()> {
        self.topics.send_raw(topic, key, headers, payload).await
    }

    /// What the service has published under a key, in its order: types and payloads.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn published(&self, key: impl ToString) -> Result<Vec<(String, Value)>> {
        Ok(sqlx::query_as(PUBLISHED)
            .bind(key.to_string())
            .fetch_all(&self.pool)
            .await?)
    }

    /// Waits until the types of what was published under a key are `wanted`, and returns the payloads. Whoever
    /// publishes anything else ends the wait.
    ///
    /// # Errors
    /// If it does not come to that.
    pub async fn until_published(&self, key: impl ToString, wanted: &[&str]) -> Result<Vec<Value>> {
        let key = key.to_string();
        let begun = Instant::now();
        loop {
            let published = self.published(&key).await?;
            let types: Vec<&str> = published.iter().map(|(name, _)| name.as_str()).collect();
            if types == wanted {
                return Ok(published.into_iter().map(|(_, payload)| payload).collect());
            }
            if begun.elapsed() > PATIENCE || !wanted.starts_with(&types) {
                bail!("published under {key}: {types:?}, wanted: {wanted:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("service", &self.service)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Waits for what should come by itself.
///
/// # Errors
/// If it does not come.
pub async fn within<F: Future>(what: &str, future: F) -> Result<F::Output> {
    let came = tokio::time::timeout(PATIENCE, future).await;
    came.map_err(|_| anyhow::anyhow!("never: {what}"))
}

/// Asks again until it holds.
///
/// # Errors
/// If it never does, or the question fails.
pub async fn until<F>(what: &str, mut condition: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<bool>>,
{
    let begun = Instant::now();
    while !condition().await? {
        if begun.elapsed() > PATIENCE {
            bail!("never: {what}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
