use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum as _;
use local_stack::{TestStack, TestStackOptions};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::{processes, programs, warm};

/// Partitions of each topic, as the shop's have.
pub(crate) const PARTITIONS: i32 = 12;

/// How a batch is made smaller. On the command line it has the name that clients of Kafka have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Compression {
    None,
    Lz4,
    Zstd,
    Snappy,
}

impl Compression {
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// A PostgreSQL that waits for the disk, and a Kafka, both for this run alone.
pub(crate) struct Ground {
    pub(crate) brokers: String,
    /// What producers do with a batch: librdkafka's and Kafka's `compression.type`.
    pub(crate) compression: Compression,
    /// Where the programs are.
    pub(crate) programs: PathBuf,
    /// The superuser's URL.
    pub(crate) postgres: String,
    // Dropped last: it ends the servers.
    stack: Arc<TestStack>,
}

impl Ground {
    /// `logical`: PostgreSQL writes a log that Debezium can read.
    pub(crate) async fn prepare(logical: bool, compression: Compression) -> Result<Self> {
        let programs = programs::released(vec!["outbox-relay", "skip-locked"]).await?;
        eprintln!("starting PostgreSQL and Apache Kafka");
        let options = TestStackOptions {
            logical,
            ..TestStackOptions::for_figures()
        };
        let stack = tokio::task::spawn_blocking(move || TestStack::with_options(&options)).await??;
        let addresses = stack.addresses();
        let ground = Self {
            brokers: addresses.kafka_brokers,
            compression,
            programs,
            postgres: addresses.postgres_admin_url,
            stack: Arc::new(stack),
        };
        eprintln!("the broker compiles its code first: whoever came before that would look slow");
        warm::up(&ground).await?;
        Ok(ground)
    }

    /// The servers, to start something beside them.
    pub(crate) fn stack(&self) -> Arc<TestStack> {
        Arc::clone(&self.stack)
    }

    /// Process ids of PostgreSQL and of Kafka.
    pub(crate) fn servers(&self) -> Result<(u32, u32)> {
        let postgres = processes::pid(self.stack.postgres().daemon()).context("PostgreSQL has ended")?;
        let kafka = processes::pid(self.stack.kafka().daemon()).context("Kafka has ended")?;
        Ok((postgres, kafka))
    }

    /// A new database with an outbox; its URL and a pool.
    pub(crate) async fn outbox(&self, name: &str) -> Result<(String, PgPool)> {
        outbox(&self.postgres, name).await
    }

    /// New databases with an outbox each: their sources, as a relay is told of them, and their pools.
    pub(crate) async fn outboxes(&self, name: &str, count: usize) -> Result<(String, Vec<PgPool>)> {
        let (mut sources, mut pools) = (Vec::new(), Vec::new());
        for outbox in 0..count {
            let (url, pool) = self.outbox(&format!("{name}_{outbox}")).await?;
            sources.push(format!("s{outbox}={url}"));
            pools.push(pool);
        }
        Ok((sources.join(";"), pools))
    }

    /// A new topic.
    pub(crate) async fn topic(&self, name: &str) -> Result<()> {
        let admin: AdminClient<_> = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()?;
        // A topic that is done with makes room at once.
        let topic =
            NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)).set("file.delete.delay.ms", "100");
        for result in admin.create_topics([&topic], &AdminOptions::new()).await? {
            if let Err((name, code)) = result {
                bail!("{name}: {code}");
            }
        }
        Ok(())
    }

    /// Removes a topic whose records have been counted: a disk is not endless.
    pub(crate) async fn forget_topic(&self, name: &str) -> Result<()> {
        let admin: AdminClient<_> = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()?;
        for result in admin.delete_topics(&[name], &AdminOptions::new()).await? {
            if let Err((name, code)) = result {
                bail!("{name}: {code}");
            }
        }
        Ok(())
    }

    /// Waits until the disk has what was written before, so that whoever comes next does not wait for it.
    pub(crate) async fn settle(&self) -> Result<()> {
        tokio::process::Command::new("sync").status().await?;
        Ok(())
    }

    /// How many records a topic holds.
    pub(crate) async fn holds(&self, topic: &str) -> Result<usize> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()?;
        let topic = topic.to_owned();
        tokio::task::spawn_blocking(move || records(&consumer, &topic)).await?
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
            loop {
                let records = records(&consumer, &topic)?;
                let now = Instant::now();
                if records >= wanted {
                    return Ok((first.map_or(begun, |(first, _)| first), now));
                }
                if begun.elapsed() > patience {
                    bail!(
                        "{topic} holds {records} of {wanted} records after {} s",
                        patience.as_secs()
                    );
                }
                let pause = if records == 0 {
                    SHORTEST_PAUSE
                } else {
                    let (since, seen) = *first.get_or_insert((now, records));
                    pause(now - since, records - seen, wanted - records)
                };
                std::thread::sleep(pause);
            }
        })
        .await?
    }
}

/// Each look asks the broker twice for each partition, which takes from who is measured.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Half of what is left at this pace, so that the end is seen when it comes.
fn pause(elapsed: Duration, came: usize, left: usize) -> Duration {
    let came = u32::try_from(came).unwrap_or(u32::MAX).max(1);
    let left = u32::try_from(left).unwrap_or(u32::MAX);
    (elapsed / came * left / 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

fn records(consumer: &BaseConsumer, topic: &str) -> Result<usize> {
    let mut records = 0;
    for partition in 0..PARTITIONS {
        records += consumer
            .fetch_watermarks(topic, partition, Duration::from_secs(5))?
            .1;
    }
    Ok(usize::try_from(records)?)
}

/// A new database with an outbox, on the server of the superuser's URL; its URL and a pool.
pub(crate) async fn outbox(admin: &str, name: &str) -> Result<(String, PgPool)> {
    let (url, pool) = database(admin, name).await?;
    outbox_relay::migrate::outbox(&pool).await?;
    Ok((url, pool))
}

/// A new database, on the server of the superuser's URL; its URL and a pool.
pub(crate) async fn database(admin: &str, name: &str) -> Result<(String, PgPool)> {
    let (server, _) = admin.rsplit_once('/').context("a URL with a database")?;
    let root = PgPool::connect(&format!("{server}/postgres")).await?;
    sqlx::query(sqlx::AssertSqlSafe(format!("create database {name}")))
        .execute(&root)
        .await?;
    root.close().await;
    let url = format!("{server}/{name}");
    let pool = PgPoolOptions::new().max_connections(32).connect(&url).await?;
    Ok((url, pool))
}
