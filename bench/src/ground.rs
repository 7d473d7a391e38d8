use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use local_stack::{TestStack, TestStackOptions};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::programs;

/// Partitions of each topic, as the shop's have.
pub(crate) const PARTITIONS: i32 = 12;
/// Bytes of a payload.
pub(crate) const PAYLOAD: usize = 300;

/// A PostgreSQL that waits for the disk, and a Kafka, both for this run alone.
pub(crate) struct Ground {
    pub(crate) brokers: String,
    /// Where the programs are.
    pub(crate) programs: PathBuf,
    postgres: String,
    // Dropped last: it ends the servers.
    _stack: TestStack,
}

impl Ground {
    pub(crate) async fn prepare() -> Result<Self> {
        let programs = programs::released().await?;
        eprintln!("starting PostgreSQL and Apache Kafka");
        let stack = tokio::task::spawn_blocking(|| TestStack::with_options(&TestStackOptions::for_figures()))
            .await??;
        let addresses = stack.addresses();
        Ok(Self {
            brokers: addresses.kafka_brokers,
            programs,
            postgres: addresses.postgres_admin_url,
            _stack: stack,
        })
    }

    /// A new database with an outbox; its URL and a pool.
    pub(crate) async fn outbox(&self, name: &'static str) -> Result<(String, PgPool)> {
        outbox(&self.postgres, name).await
    }

    /// A new topic.
    pub(crate) async fn topic(&self, name: &str) -> Result<()> {
        let admin: AdminClient<_> = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()?;
        let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
        for result in admin.create_topics([&topic], &AdminOptions::new()).await? {
            if let Err((name, code)) = result {
                bail!("{name}: {code}");
            }
        }
        Ok(())
    }

    /// Waits until a topic holds `wanted` records, and says when the first and the last of them were seen.
    pub(crate) async fn filled(
        &self,
        topic: &str,
        wanted: usize,
        patience: Duration,
    ) -> Result<(Instant, Instant)> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()?;
        let topic = topic.to_owned();
        tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            let mut first = None;
            let wanted = i64::try_from(wanted)?;
            loop {
                let mut records = 0;
                for partition in 0..PARTITIONS {
                    records += consumer
                        .fetch_watermarks(&topic, partition, Duration::from_secs(5))?
                        .1;
                }
                if records > 0 {
                    first.get_or_insert_with(Instant::now);
                }
                if records >= wanted {
                    return Ok((first.unwrap_or(begun), Instant::now()));
                }
                if begun.elapsed() > patience {
                    bail!(
                        "{topic} holds {records} of {wanted} records after {} s",
                        patience.as_secs()
                    );
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        })
        .await?
    }
}

/// A new database with an outbox, on the server of the superuser's URL; its URL and a pool.
pub(crate) async fn outbox(admin: &str, name: &'static str) -> Result<(String, PgPool)> {
    let (server, _) = admin.rsplit_once('/').context("a URL with a database")?;
    let root = PgPool::connect(&format!("{server}/postgres")).await?;
    sqlx::query(sqlx::AssertSqlSafe(format!("create database {name}")))
        .execute(&root)
        .await?;
    root.close().await;
    let url = format!("{server}/{name}");
    let pool = PgPoolOptions::new().max_connections(32).connect(&url).await?;
    outbox_relay::migrate::outbox(&pool).await?;
    Ok((url, pool))
}
