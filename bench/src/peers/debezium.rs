use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use local_stack::{ConnectPrograms, ConnectSettings, KafkaConnect};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgPool};
use tokio::task::spawn_blocking;

use super::{Drained, Load, Ours, Watch, at_a_pace, tell_latency};
use crate::ground::{Compression, Ground};
use crate::report::Report;
use crate::{backlog, processes, usage};

const WARM_UP: &str = "warm";
/// What stands before the names of its topics, since ours are beside them.
const PREFIX: &str = "debezium-";
const ITS_WARM_UP: &str = "debezium-warm";
/// Not the topic of ours: what was written for that comes through the log, late, among these.
const PACED: &str = "peers-paced-again";
const ITS_PACED: &str = "debezium-peers-paced-again";
const ITS_PACED_OF_OURS: &str = "debezium-peers-paced";
const SLOT: &str = "debezium";

/// Debezium in Kafka Connect, on the table that our relay reads. Its task is stopped at first.
pub(super) struct Debezium(KafkaConnect);

impl Debezium {
    /// Starts it, and lets its JVM compile what it runs: `rows` events go through it that nobody counts.
    pub(super) async fn warm(
        programs: ConnectPrograms,
        ground: &Ground,
        pool: &PgPool,
        rows: usize,
        report: &Report,
    ) -> Result<Self> {
        sqlx::query(
            "create publication saga_outbox for table saga.outbox \
               with (publish = 'insert', publish_via_partition_root = true)",
        )
        .execute(pool)
        .await?;
        for topic in [WARM_UP, ITS_WARM_UP, ITS_PACED_OF_OURS, ITS_PACED] {
            ground.topic(topic).await?;
        }
        let settings = settings(&pool.connect_options(), ground.compression)?;
        let stack = ground.stack();
        report.say("starting Debezium in Kafka Connect");
        let connect = spawn_blocking(move || stack.kafka_connect(&programs, &settings)).await??;
        let debezium = Self(connect);
        report.say(&format!("warming it up with {rows} events"));
        backlog::fill(pool, WARM_UP, rows).await?;
        ground.filled(ITS_WARM_UP, rows, Duration::from_secs(300)).await?;
        let debezium = debezium.turn(KafkaConnect::stop_connector).await?;
        sqlx::query("truncate saga.outbox").execute(pool).await?;
        Ok(debezium)
    }

    /// Where it will publish what is written for a topic of ours.
    pub(super) async fn prepare(&self, ground: &Ground, topic: &str) -> Result<()> {
        ground.topic(&its(topic)).await
    }

    /// The backlog that was written while its task was stopped. Afterwards it is stopped again.
    #[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
    pub(super) async fn drain(
        self,
        ground: &Ground,
        pool: &PgPool,
        (topic, round, rows): (&str, usize, usize),
        report: &mut Report,
    ) -> Result<(Self, Drained)> {
        let kept = kept_bytes(pool).await?;
        report.add(
            format!("peers.debezium.log_kept.{round}"),
            kept as f64 / 1e6,
            "MB",
        );
        report.say("draining: Debezium");
        let pid = self.pid()?;
        let watch = Watch::begin(ground, pool, Some(pid)).await?;
        let begun = Instant::now();
        let debezium = self.turn(KafkaConnect::resume_connector).await?;
        report.say(&format!(
            "its task runs after {:.1} s",
            begun.elapsed().as_secs_f64()
        ));
        let drained = watch.drained(&its(topic), rows, pid).await?;
        let resident_kb = usage::of(pid)?.resident_kb;
        report.add(
            format!("peers.debezium.resident.{round}"),
            resident_kb as f64 / 1024.0,
            "MB",
        );
        let debezium = debezium.turn(KafkaConnect::stop_connector).await?;
        ground.forget_topic(&its(topic)).await?;
        Ok((debezium, drained))
    }

    /// Its latency, once it has caught up.
    pub(super) async fn paced(
        self,
        ground: &Ground,
        pool: &PgPool,
        load: Load,
        ours: &Ours,
        report: &mut Report,
    ) -> Result<()> {
        report.say("500 events a second: Debezium");
        let debezium = self.turn(KafkaConnect::resume_connector).await?;
        // What was written for ours meanwhile is in the log that it reads.
        let published = ground.holds(super::PACED).await?;
        ground
            .filled(ITS_PACED_OF_OURS, published, super::PATIENCE)
            .await?;
        let sample = at_a_pace(ground, pool, (PACED, ITS_PACED), load).await?;
        tell_latency("debezium", sample, ours, report);
        debezium.end(pool).await
    }

    fn pid(&self) -> Result<u32> {
        processes::pid(self.0.daemon()).context("Kafka Connect has ended")
    }

    /// Ends it, and removes what it keeps in the database.
    async fn end(self, pool: &PgPool) -> Result<()> {
        let stopped = self.turn(KafkaConnect::stop_connector).await?;
        spawn_blocking(move || drop(stopped)).await?;
        sqlx::query("select pg_drop_replication_slot($1)")
            .bind(SLOT)
            .execute(pool)
            .await?;
        Ok(())
    }

    async fn turn(
        self,
        verb: impl FnOnce(&KafkaConnect) -> Result<(), local_stack::StackError> + Send + 'static,
    ) -> Result<Self> {
        Ok(spawn_blocking(move || verb(&self.0).map(|()| self)).await??)
    }
}

/// Its topic beside one of ours.
fn its(topic: &str) -> String {
    format!("{PREFIX}{topic}")
}

/// Bytes of the log that the server keeps for it.
async fn kept_bytes(pool: &PgPool) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint from pg_replication_slots where slot_name = $1",
    )
    .bind(SLOT)
    .fetch_one(pool)
    .await?)
}

/// The best that was found: large batches on both sides, no headers but id and type, nothing that copies twice.
fn settings(database: &PgConnectOptions, compression: Compression) -> Result<ConnectSettings> {
    let url = database.to_url_lossy();
    let config = [
        (
            "connector.class",
            "io.debezium.connector.postgresql.PostgresConnector",
        ),
        ("tasks.max", "1"),
        ("database.hostname", database.get_host()),
        ("database.port", &database.get_port().to_string()),
        ("database.dbname", database.get_database().context("a database")?),
        ("database.user", database.get_username()),
        ("database.password", url.password().context("a password")?),
        ("topic.prefix", "bench"),
        ("plugin.name", "pgoutput"),
        ("slot.name", SLOT),
        ("publication.name", "saga_outbox"),
        ("publication.autocreate.mode", "disabled"),
        ("table.include.list", "saga.outbox"),
        // Only what is used is decoded.
        (
            "column.include.list",
            "saga.outbox.(id|aggregatetype|aggregateid|type|payload)",
        ),
        ("snapshot.mode", "no_data"),
        ("max.batch.size", "8192"),
        ("max.queue.size", "32768"),
        ("poll.interval.ms", "1"),
        ("provide.transaction.metadata", "false"),
        ("extended.headers.enabled", "false"),
        ("producer.override.linger.ms", "5"),
        ("producer.override.batch.size", "1000000"),
        ("producer.override.buffer.memory", "134217728"),
        ("producer.override.compression.type", &compression.name()),
        (
            "key.converter",
            "org.apache.kafka.connect.storage.StringConverter",
        ),
        ("value.converter", "io.debezium.converters.BinaryDataConverter"),
        (
            "header.converter",
            "org.apache.kafka.connect.storage.StringConverter",
        ),
        ("transforms", "outbox"),
        (
            "transforms.outbox.type",
            "io.debezium.transforms.outbox.EventRouter",
        ),
        (
            "transforms.outbox.route.topic.replacement",
            &format!("{PREFIX}${{routedByValue}}"),
        ),
        (
            "transforms.outbox.table.fields.additional.placement",
            "type:header:type",
        ),
    ];
    Ok(ConnectSettings {
        name: "bench".to_owned(),
        connector: config
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        heap_mb: 2048,
        short_lived: false,
    })
}
