use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};

use crate::crowd::Crowd;
use crate::ground::Ground;
use crate::latency::Publishing;
use crate::report::Report;
use crate::{backlog, latency, usage};

const TOPIC: &str = "held";
/// Leaves are by the minute; the last one is emptied when its minute is over.
const EMPTIED_WITHIN: Duration = Duration::from_secs(200);

/// A session that holds a snapshot open, as a forgotten transaction or a long report does.
#[derive(Debug)]
pub(crate) struct Snapshot(PgConnection);

impl Snapshot {
    pub(crate) async fn hold(url: &str) -> Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        connection
            .execute("set idle_in_transaction_session_timeout = 0")
            .await?;
        connection
            .execute("begin isolation level repeatable read")
            .await?;
        connection.execute("select pg_current_snapshot()").await?;
        Ok(Self(connection))
    }

    /// Fails if the session was ended in between: then nothing was held.
    pub(crate) async fn release(mut self) -> Result<()> {
        self.0
            .execute("commit")
            .await
            .context("the snapshot was not held to the end")?;
        Ok(self.0.close().await?)
    }
}

/// What the outbox's tables take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables {
    /// Dead rows of tables that grow with the number of events.
    pub(crate) dead: i64,
    /// Dead rows of the one row that holds the lease.
    pub(crate) dead_lease: i64,
    pub(crate) bytes: i64,
}

impl Tables {
    pub(crate) async fn of(pool: &PgPool) -> Result<Self> {
        let (dead, dead_lease, bytes) = sqlx::query_as(
            "select coalesce(sum(n_dead_tup) filter (where relname ~ '^(outbox|relay_window)'), 0)::bigint, \
                    coalesce(sum(n_dead_tup) filter (where relname = 'relay'), 0)::bigint, \
                    coalesce(sum(pg_total_relation_size(relid)), 0)::bigint \
               from pg_stat_user_tables where schemaname = 'saga'",
        )
        .fetch_one(pool)
        .await?;
        Ok(Self {
            dead,
            dead_lease,
            bytes,
        })
    }

    #[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
    pub(crate) fn megabytes(&self) -> f64 {
        self.bytes as f64 / 1e6
    }
}

/// Events at a steady pace while another session holds a snapshot open from before the first to after the last.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
pub(crate) async fn measure(ground: &Ground, rows: usize, rate: usize, report: &mut Report) -> Result<()> {
    let (url, pool) = ground.outbox("held").await?;
    ground.topic(TOPIC).await?;
    let relay = latency::spawn_relay(ground, &url, Publishing::AtLeastOnce)?;
    let snapshot = Snapshot::hold(&url).await?;
    let crowd = Crowd::begin(ground, &[relay.id()])?;
    report.say(&format!(
        "{rows} events at {rate} a second while another session holds a snapshot"
    ));
    let begun = Instant::now();
    let batches = rows.div_ceil(1000);
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1000.0 / rate as f64));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    // The largest size of the tables in each third of the run: what is bounded does not grow from the second to the last.
    let mut largest = [0.0_f64; 3];
    let every = (batches / 200).max(1);
    for batch in 0..batches {
        ticks.tick().await;
        backlog::write(&pool, TOPIC, batch).await?;
        if batch % every == 0 {
            let third = &mut largest[(batch * 3 / batches).min(2)];
            *third = third.max(Tables::of(&pool).await?.megabytes());
        }
    }
    let written = begun.elapsed();
    let (_, last) = ground
        .filled(TOPIC, batches * 1000, Duration::from_secs(120))
        .await?;
    let others = crowd.others(ground, &[relay.id()])?;
    let peak_kb = usage::peak_kb(relay.id())?;
    report.say("waiting until the leaves are empty");
    let tables = emptied(&pool).await?;
    snapshot.release().await?;
    drop(relay);
    let written_per_second = (batches * 1000) as f64 / written.as_secs_f64();
    let published = (batches * 1000) as f64 / last.duration_since(begun).as_secs_f64();
    report.compare(
        "relay.held",
        published,
        "events/s",
        written_per_second,
        "events written",
    );
    report.add("relay.held.dead", tables.dead as f64, "rows");
    report.add("relay.held.dead.lease", tables.dead_lease as f64, "rows");
    report.add("relay.held.table.peak", largest[1], "MB");
    report.compare(
        "relay.held.table.late",
        largest[2],
        "MB",
        largest[1],
        "the second third's",
    );
    report.add("relay.held.table.left", tables.megabytes(), "MB");
    report.add("relay.held.resident.peak", peak_kb as f64 / 1024.0, "MB");
    report.add("relay.held.cpu.of_others", others, "cores");
    pool.close().await;
    ground.forget_topic(TOPIC).await
}

async fn emptied(pool: &PgPool) -> Result<Tables> {
    let begun = Instant::now();
    loop {
        let empty: bool = sqlx::query_scalar("select not exists (select from saga.outbox)")
            .fetch_one(pool)
            .await?;
        if empty {
            // Counts reach the statistics with a delay of a second.
            tokio::time::sleep(Duration::from_secs(2)).await;
            return Tables::of(pool).await;
        }
        ensure!(begun.elapsed() < EMPTIED_WITHIN, "the outbox is not emptied");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
