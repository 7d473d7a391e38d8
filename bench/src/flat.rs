use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sqlx::PgPool;

use crate::crowd::Sessions;
use crate::ground::Ground;
use crate::latency::{self, Spawned};
use crate::report::Report;
use crate::{backlog, usage};

const PATIENCE: Duration = Duration::from_secs(1200);
/// For how long nothing happens.
const IDLE: Duration = Duration::from_secs(10);
/// Events of the first backlog, at most.
const FIRST: usize = 20_000;
/// Fewer events say nothing in hundredths of a second of processor time.
const ENOUGH: usize = 200_000;

/// Whether an event costs the same, however many wait, and in however many outboxes.
pub(crate) async fn measure(ground: &Ground, rows: usize, report: &mut Report) -> Result<()> {
    // The broker and the server get warm before anybody is measured.
    drained(ground, "flat_warm", 1, ENOUGH, 1).await?;
    let mut smallest = None;
    for part in [1000, 100, 10, 1] {
        let waiting = rows / part;
        if waiting < 10_000 {
            continue;
        }
        report.say(&format!("{waiting} events wait"));
        let name = format!("flat_b{waiting}");
        let cost = drained(ground, &name, 1, waiting, (ENOUGH / waiting).max(1)).await?;
        let beside = *smallest.get_or_insert(cost);
        let (name, reference) = (format!("backlog.{waiting}"), "the smallest backlog");
        tell(report, &name, cost, beside, reference);
        let peak = format!("relay.flat.{name}.peak");
        report.compare(peak, cost.peak_mb, "MB", beside.peak_mb, reference);
    }
    let mut single = None;
    for sources in [1, 10, 100] {
        report.say(&format!("{sources} outboxes"));
        let name = format!("flat_s{sources}");
        let cost = drained(ground, &name, sources, ENOUGH / sources, 1).await?;
        let beside = *single.get_or_insert(cost);
        tell(report, &format!("sources.{sources}"), cost, beside, "one outbox");
        let name = |figure| format!("relay.flat.sources.{sources}.{figure}");
        report.add(name("idle"), cost.at_rest.cores, "cores");
        report.compare(name("peak"), cost.peak_mb, "MB", beside.peak_mb, "one outbox");
        let (resident, one) = (cost.at_rest.resident_mb, beside.at_rest.resident_mb);
        report.compare(name("resident"), resident, "MB", one, "one outbox");
    }
    Ok(())
}

fn tell(report: &mut Report, name: &str, cost: Cost, beside: Cost, reference: &'static str) {
    let pairs = [
        ("relay", cost.relay, beside.relay),
        ("database", cost.database, beside.database),
    ];
    for (who, cost, beside) in pairs {
        report.compare(
            format!("relay.flat.{name}.{who}"),
            cost,
            "us/event",
            beside,
            reference,
        );
    }
}

/// What a backlog costs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Microseconds of processor time per event.
    relay: f64,
    /// The same of its sessions.
    database: f64,
    at_rest: AtRest,
    /// The most memory that the relay ever had.
    peak_mb: f64,
}

/// While nothing happens, after the first backlog.
#[derive(Debug, Clone, Copy)]
struct AtRest {
    /// Of the relay and its sessions together.
    cores: f64,
    /// Of the relay.
    resident_mb: f64,
}

/// What a relay that runs already, and has had such a backlog before, takes for `waiting` events in each of so many outboxes,
/// `rounds` times.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
async fn drained(ground: &Ground, name: &str, sources: usize, waiting: usize, rounds: usize) -> Result<Cost> {
    ground.topic(name).await?;
    let (list, pools) = ground.outboxes(name, sources).await?;
    let sessions = Sessions::after_now_in(&pools).await?;
    let relay = latency::spawn(
        Command::new(ground.programs.join("outbox-relay"))
            .env("RELAY_SOURCES", list)
            .env("RELAY_KAFKA_BROKERS", &ground.brokers)
            // While it is stopped nobody renews it.
            .env("RELAY_LEASE_MS", "3600000")
            .env("RELAY_LOG", "warn"),
    )?;
    for pool in &pools {
        until_held(pool).await?;
    }
    let mut known = 0;
    let mut round = async |waiting: usize| -> Result<(Duration, Duration)> {
        known += waiting * sources;
        signal(&relay, "STOP")?;
        for pool in &pools {
            backlog::fill(pool, name, waiting).await?;
        }
        ground.settle().await?;
        let before = (usage::of(relay.id())?.processor, used(&sessions, &pools).await?);
        signal(&relay, "CONT")?;
        ground.filled(name, known, PATIENCE).await?;
        Ok((
            usage::of(relay.id())?.processor.saturating_sub(before.0),
            used(&sessions, &pools).await?.saturating_sub(before.1),
        ))
    };
    // Nobody counts the first: whoever has had no backlog yet has plans and clients to make, once.
    round(waiting.min(FIRST)).await?;
    until_quiet(&relay).await?;
    let at_rest = AtRest::of(&relay, &sessions, &pools).await?;
    let (mut relayed, mut stored) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..rounds {
        let taken = round(waiting).await?;
        relayed += taken.0;
        stored += taken.1;
    }
    let peak_kb = usage::peak_kb(relay.id())?;
    drop(relay);
    for pool in pools {
        pool.close().await;
    }
    ground.forget_topic(name).await?;
    let events = (waiting * sources * rounds) as f64;
    Ok(Cost {
        relay: relayed.as_secs_f64() * 1e6 / events,
        database: stored.as_secs_f64() * 1e6 / events,
        at_rest,
        peak_mb: peak_kb as f64 / 1024.0,
    })
}

impl AtRest {
    #[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
    async fn of(relay: &Spawned, sessions: &[Sessions], pools: &[PgPool]) -> Result<Self> {
        let before = (usage::of(relay.id())?.processor, used(sessions, pools).await?);
        tokio::time::sleep(IDLE).await;
        let now = usage::of(relay.id())?;
        let relay = now.processor.saturating_sub(before.0);
        let both = relay + used(sessions, pools).await?.saturating_sub(before.1);
        Ok(Self {
            cores: both.as_secs_f64() / IDLE.as_secs_f64(),
            resident_mb: now.resident_kb as f64 / 1024.0,
        })
    }
}

/// Processor time of the relay's sessions, in all databases.
async fn used(sessions: &[Sessions], pools: &[PgPool]) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for (sessions, pool) in sessions.iter().zip(pools) {
        sum += sessions.used(pool).await?;
    }
    Ok(sum)
}

async fn until_held(pool: &PgPool) -> Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let held: bool =
            sqlx::query_scalar("select exists (select from saga.relay where expires_at > clock_timestamp())")
                .fetch_one(pool)
                .await?;
        if held {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < Duration::from_secs(60),
            "the relay does not begin"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Its producers have found the broker, and it looks for events that are not there.
async fn until_quiet(relay: &Spawned) -> Result<()> {
    let begun = std::time::Instant::now();
    let mut last = Duration::MAX;
    loop {
        let before = usage::of(relay.id())?.processor;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let now = usage::of(relay.id())?.processor.saturating_sub(before);
        // It takes no less than in the seconds before: that is what it takes when it is idle.
        if now.saturating_add(Duration::from_millis(50)) >= last {
            return Ok(());
        }
        last = now;
        ensure!(
            begun.elapsed() < Duration::from_secs(120),
            "the relay is never quiet"
        );
    }
}

fn signal(relay: &Spawned, signal: &str) -> Result<()> {
    let status = Command::new("kill")
        .args([&format!("-{signal}"), &relay.id().to_string()])
        .status()
        .context("kill cannot be called")?;
    ensure!(status.success(), "no signal {signal} to {}", relay.id());
    Ok(())
}
