use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::PgPool;

use super::{Load, Ours, Watch, at_a_pace, per_second, tell_latency};
use crate::backlog;
use crate::ground::{self, Ground};
use crate::held::{Snapshot, Tables};
use crate::latency::{self, Spawned};
use crate::report::Report;

const PACED: &str = "polled-paced";
const HELD: &str = "polled-held";
/// How long it may try while a snapshot is held: it gets slower and slower, so its end would say nothing.
const TRIES_FOR: Duration = Duration::from_secs(30);

/// With one worker, with four that give up the order, and with one while a snapshot is held.
pub(super) async fn measure(ground: &Ground, load: Load, ours: &Ours, report: &mut Report) -> Result<()> {
    let (url, pool) = outbox(ground).await?;
    for (name, workers) in [("poller", 1), ("poller.unordered", 4)] {
        let topic = format!("polled-{workers}");
        ground.topic(&topic).await?;
        backlog::fill(&pool, &topic, load.rows).await?;
        report.say(&format!("draining: a poller, {workers} at a time"));
        let watch = Watch::begin(ground, &pool, None).await?;
        let program = spawn(ground, &url, workers)?;
        let drained = watch.drained(&topic, load.rows, program.id()).await?;
        drop(program);
        drained.tell(name, ours, report);
        empty(&pool).await?;
        ground.forget_topic(&topic).await?;
    }

    report.say("500 events a second: a poller");
    ground.topic(PACED).await?;
    let program = spawn(ground, &url, 1)?;
    let sample = at_a_pace(ground, &pool, (PACED, PACED), load).await?;
    drop(program);
    tell_latency("poller", sample, ours, report);
    empty(&pool).await?;
    held(ground, (&url, &pool), load.rows, report).await?;
    pool.close().await;
    Ok(())
}

#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
async fn held(ground: &Ground, (url, pool): (&str, &PgPool), rows: usize, report: &mut Report) -> Result<()> {
    ground.topic(HELD).await?;
    let snapshot = Snapshot::hold(url).await?;
    backlog::fill(pool, HELD, rows).await?;
    report.say("draining while another session holds a snapshot: a poller");
    ground.settle().await?;
    let before = Tables::of(pool).await?.dead;
    let program = spawn(ground, url, 1)?;
    let (first_half, second_half) = in_two_halves(ground, HELD, rows).await?;
    // Counts reach the statistics with a delay of a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(program);
    report.add("peers.poller.held.drain", first_half, "events/s");
    if let Some(second_half) = second_half {
        let name = "peers.poller.held.late";
        report.compare(name, second_half, "events/s", first_half, "the first half's");
    }
    let dead = Tables::of(pool).await?.dead - before;
    report.add("peers.poller.held.dead", dead as f64, "rows");
    snapshot.release().await?;
    ground.forget_topic(HELD).await
}

/// A database with the table that such a library has: one heap, one key.
async fn outbox(ground: &Ground) -> Result<(String, PgPool)> {
    let (url, pool) = ground::database(&ground.postgres, "polled").await?;
    for statement in [
        "create schema saga",
        "create table saga.outbox (
             id uuid not null, aggregatetype text not null, aggregateid text not null, type text not null, payload bytea,
             position bigint generated always as identity primary key,
             headers jsonb not null default '{}', created_at timestamptz not null default now())",
    ] {
        sqlx::query(statement).execute(&pool).await?;
    }
    Ok((url, pool))
}

async fn empty(pool: &PgPool) -> Result<()> {
    sqlx::query("truncate saga.outbox").execute(pool).await?;
    Ok(())
}

/// The poller, in a process of its own.
fn spawn(ground: &Ground, url: &str, workers: usize) -> Result<Spawned> {
    latency::spawn(
        Command::new(ground.programs.join("skip-locked"))
            .arg(url)
            .arg(&ground.brokers)
            .arg(workers.to_string())
            .arg(ground.compression.name()),
    )
}

/// Events per second in the first half of [`TRIES_FOR`], and in the second, unless the first was enough for all.
async fn in_two_halves(ground: &Ground, topic: &str, rows: usize) -> Result<(f64, Option<f64>)> {
    let (begun, half) = (Instant::now(), TRIES_FOR / 2);
    let first = until(ground, topic, rows, half).await?;
    let rate = per_second(first, begun.elapsed());
    if first >= rows {
        return Ok((rate, None));
    }
    let begun = Instant::now();
    let second = until(ground, topic, rows, half).await?;
    Ok((rate, Some(per_second(second - first, begun.elapsed()))))
}

/// Records that a topic holds after a time, or once all are there.
async fn until(ground: &Ground, topic: &str, rows: usize, patience: Duration) -> Result<usize> {
    let begun = Instant::now();
    loop {
        let holds = ground.holds(topic).await?;
        if holds >= rows || begun.elapsed() > patience {
            return Ok(holds);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
