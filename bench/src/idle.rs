use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sqlx::PgPool;

use crate::crowd::Sessions;
use crate::ground::Ground;
use crate::latency::{self, Spawned};
use crate::report::Report;
use crate::{backlog, usage};

const TOPIC: &str = "idle";
/// Leaves are emptied once their minute is over.
const PATIENCE: Duration = Duration::from_secs(600);
/// After its last event an outbox is fast asleep within this time; then the first looks that are rarer still have come.
const ASLEEP: Duration = Duration::from_secs(20);
/// For how long nothing happens.
const WATCHED: Duration = Duration::from_secs(30);

/// What outboxes cost through which nothing has gone for minutes: one, and a hundred in one process.
pub(crate) async fn measure(ground: &Ground, report: &mut Report) -> Result<()> {
    ground.topic(TOPIC).await?;
    for outboxes in [1, 100] {
        asleep(ground, outboxes, report).await?;
    }
    ground.forget_topic(TOPIC).await
}

#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
async fn asleep(ground: &Ground, outboxes: usize, report: &mut Report) -> Result<()> {
    let (list, pools) = ground.outboxes(&format!("idle_{outboxes}"), outboxes).await?;
    let sessions = Sessions::after_now_in(&pools).await?;
    let relay = latency::spawn(
        Command::new(ground.programs.join("outbox-relay"))
            .env("RELAY_SOURCES", list)
            .env("RELAY_KAFKA_BROKERS", &ground.brokers)
            .env("RELAY_LOG", "warn"),
    )?;
    // Each has published something: one that never did has fewer clients.
    for pool in &pools {
        backlog::write(pool, TOPIC, 0).await?;
    }
    report.say(&format!("{outboxes} outboxes: until their leaves are empty"));
    for pool in &pools {
        until_empty(pool).await?;
    }
    tokio::time::sleep(ASLEEP).await;
    let watched = Watched::begin(&relay, pools, sessions).await?;
    tokio::time::sleep(WATCHED).await;
    let asleep = watched.end(&relay).await?;
    drop(relay);
    let seconds = WATCHED.as_secs_f64();
    // In hundredths of a core, the share of one outbox would be rounded away.
    let millicores = |used: Duration| used.as_secs_f64() * 1000.0 / seconds;
    let name = format!("relay.idle.{outboxes}");
    report.add(format!("{name}.relay"), millicores(asleep.relay), "mcores");
    report.add(format!("{name}.database"), millicores(asleep.database), "mcores");
    report.add(
        format!("{name}.transactions"),
        asleep.transactions as f64 / seconds,
        "tx/s",
    );
    Ok(())
}

/// Who is watched while nothing happens.
struct Watched {
    pools: Vec<PgPool>,
    /// The relay's: those that came after ours.
    sessions: Vec<Sessions>,
    before: Used,
}

/// What was used so far. Sessions that have ended do not count, and the one that empties leaves comes every ten minutes.
struct Used {
    relay: Duration,
    database: Duration,
    /// Each statement of an idle relay is one.
    transactions: i64,
}

impl Watched {
    async fn begin(relay: &Spawned, pools: Vec<PgPool>, sessions: Vec<Sessions>) -> Result<Self> {
        let before = used(relay, &pools, &sessions).await?;
        Ok(Self {
            pools,
            sessions,
            before,
        })
    }

    async fn end(self, relay: &Spawned) -> Result<Used> {
        let now = used(relay, &self.pools, &self.sessions).await?;
        for pool in self.pools {
            pool.close().await;
        }
        Ok(Used {
            relay: now.relay.saturating_sub(self.before.relay),
            database: now.database.saturating_sub(self.before.database),
            transactions: now.transactions - self.before.transactions,
        })
    }
}

async fn used(relay: &Spawned, pools: &[PgPool], sessions: &[Sessions]) -> Result<Used> {
    let (mut database, mut transactions) = (Duration::ZERO, 0);
    for (pool, sessions) in pools.iter().zip(sessions) {
        database += sessions.used(pool).await?;
        transactions += committed(pool).await?;
    }
    Ok(Used {
        relay: usage::of(relay.id())?.processor,
        database,
        transactions,
    })
}

/// Transactions of a database so far, those of autovacuum and of ourselves among them.
async fn committed(pool: &PgPool) -> Result<i64> {
    Ok(
        sqlx::query_scalar("select xact_commit from pg_stat_database where datname = current_database()")
            .fetch_one(pool)
            .await?,
    )
}

async fn until_empty(pool: &PgPool) -> Result<()> {
    let begun = Instant::now();
    loop {
        let (published, left): (bool, i64) = sqlx::query_as(
            "select exists (select from saga.relay where acked_win > 0),
                    (select sum(pg_relation_size(format('saga.outbox_%s', slot)::regclass))::bigint
                       from generate_series(0, 3) as slot)",
        )
        .fetch_one(pool)
        .await?;
        if published && left == 0 {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "{left} bytes of an outbox stay");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
