use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::postgres::PgConnection;
use tokio::task::JoinSet;

use super::options::Options;
use super::support::{Outbox, eventually, run};

/// How far everyone is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Events that were committed, about: nobody knows what became of a commit that got no answer.
    pub written: AtomicU64,
    pub checked: AtomicU64,
    pub faults: AtomicU32,
    /// Keys that were parked, and sent again.
    pub replays: AtomicU64,
    pub written_all: AtomicBool,
}

pub struct Writers {
    outbox: Outbox,
    topic: String,
    options: Options,
    progress: Arc<Progress>,
}

/// Versions of aggregates, and their events: positions are drawn while the aggregates' rows are locked. In the order of
/// keys, as far as the planner keeps it; where it does not, writers lock each other out and one is rolled back.
const BUMP: &str = "
with u as (update agg set v = v + 1
            where key in (select key from agg where key = any($1) order by key for update) returning key, v)
insert into saga.outbox (id, aggregatetype, aggregateid, type, payload)
select gen_random_uuid(), $2, key, 'bumped',
       convert_to(case when (v + abs(hashtext(key)::bigint)) % 40 = 0 then rpad(v::text, $3) else v::text end, 'UTF8')
  from u";

/// One event in forty is so large, and now and then the topic refuses it.
pub const LARGE_BYTES: usize = 4000;

/// Writers wait while the checker is this far behind: topics are not kept for ever.
const AHEAD: u64 = 300_000;

impl Writers {
    pub fn new(outbox: &Outbox, topic: &str, options: Options, progress: Arc<Progress>) -> Self {
        Self {
            outbox: outbox.clone(),
            topic: topic.to_owned(),
            options,
            progress,
        }
    }

    pub async fn prepare(&self) -> Result<()> {
        let mut connection = self.outbox.connect("it").await?;
        sqlx::query("insert into agg select 'k' || i from generate_series(1, $1::int) i")
            .bind(i32::try_from(self.options.keys)?)
            .execute(&mut connection)
            .await?;
        Ok(())
    }

    /// Writes until there is enough. Returns each key's last committed version.
    pub async fn write(self) -> Result<BTreeMap<String, i64>> {
        let this = Arc::new(self);
        let mut tasks = JoinSet::new();
        for task in 0..this.options.writers {
            tasks.spawn(this.clone().write_on(task));
        }
        while let Some(task) = tasks.join_next().await {
            task??;
        }
        this.end_prepared().await?;
        eventually("the database answers", async || this.versions().await.is_ok()).await;
        this.versions().await.context("reading what was committed")
    }

    async fn versions(&self) -> Result<BTreeMap<String, i64>> {
        let mut connection = self.outbox.connect("it").await?;
        let rows: Vec<(String, i64)> = sqlx::query_as("select key, v from agg")
            .fetch_all(&mut connection)
            .await?;
        Ok(rows.into_iter().collect())
    }

    /// Whoever prepared a transaction may have been cut off before ending it; it would hold its locks for ever.
    async fn end_prepared(&self) -> Result<()> {
        eventually("no transaction is left prepared", async || {
            let Ok(mut connection) = self.outbox.connect("it").await else {
                return false;
            };
            let gids =
                sqlx::query_scalar::<_, String>("select gid from pg_prepared_xacts where database = $1")
                    .bind(&self.outbox.name)
                    .fetch_all(&mut connection)
                    .await;
            let Ok(gids) = gids else { return false };
            for gid in &gids {
                run(&mut connection, &format!("commit prepared '{gid}'"))
                    .await
                    .ok();
            }
            gids.is_empty()
        })
        .await;
        Ok(())
    }

    async fn write_on(self: Arc<Self>, task: u64) -> Result<()> {
        let mut random = StdRng::seed_from_u64(self.options.seed * 1000 + task);
        let mut connection: Option<PgConnection> = None;
        let mut number = 0;
        while self.progress.written.load(Ordering::Relaxed) < self.options.events {
            self.wait_for_checker().await;
            let Some(open) = &mut connection else {
                // The server may be coming back.
                connection = self.reconnect(task).await.ok();
                if connection.is_none() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                continue;
            };
            number += 1;
            let gid = format!("soak-{task}-{number}");
            match self.transaction(open, &mut random, &gid).await {
                Ok(events) => {
                    self.progress.written.fetch_add(events, Ordering::Relaxed);
                }
                // Locked out by another writer, or cut off by the server's end.
                Err(error) if error.as_database_error().is_some() && run(open, "rollback").await.is_ok() => {}
                Err(_) => connection = None,
            }
        }
        Ok(())
    }

    async fn wait_for_checker(&self) {
        let behind = || {
            let written = self.progress.written.load(Ordering::Relaxed);
            written.saturating_sub(self.progress.checked.load(Ordering::Relaxed))
        };
        while behind() > AHEAD {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Also ends what this writer prepared before it was cut off.
    async fn reconnect(&self, task: u64) -> Result<PgConnection> {
        let mut connection = self.outbox.connect("it").await?;
        let gids = sqlx::query_scalar::<_, String>("select gid from pg_prepared_xacts where gid like $1")
            .bind(format!("soak-{task}-%"))
            .fetch_all(&mut connection)
            .await?;
        for gid in gids {
            run(&mut connection, &format!("rollback prepared '{gid}'")).await?;
        }
        Ok(connection)
    }

    /// One statement, many, savepoints, rollbacks, long transactions, an early transaction id, two-phase commit.
    async fn transaction(
        &self,
        connection: &mut PgConnection,
        random: &mut StdRng,
        gid: &str,
    ) -> Result<u64, sqlx::Error> {
        let kind = random.random_range(0..40);
        if kind < 20 {
            return self.bump(connection, random).await;
        }
        run(connection, "begin").await?;
        if kind == 20 {
            // An early transaction id, and late rows.
            run(connection, "select pg_current_xact_id()").await?;
            pause(random, 100).await;
        }
        let mut events = 0;
        for _ in 0..random.random_range(1..4) {
            events += self.bump(connection, random).await?;
        }
        match kind {
            21..=25 => {
                run(connection, "savepoint s").await?;
                let within = self.bump(connection, random).await?;
                if random.random() {
                    run(connection, "rollback to savepoint s").await?;
                } else {
                    events += within;
                }
                run(connection, "release savepoint s").await?;
                events += self.bump(connection, random).await?;
            }
            26 => pause(random, 2000).await,
            27 => pause(random, 30).await,
            28..=30 => return run(connection, "rollback").await.map(|()| 0),
            31 => {
                run(connection, &format!("prepare transaction '{gid}'")).await?;
                pause(random, 200).await;
                let commits = random.random();
                let end = if commits { "commit" } else { "rollback" };
                run(connection, &format!("{end} prepared '{gid}'")).await?;
                return Ok(if commits { events } else { 0 });
            }
            _ => {}
        }
        run(connection, "commit").await?;
        Ok(events)
    }

    async fn bump(&self, connection: &mut PgConnection, random: &mut StdRng) -> Result<u64, sqlx::Error> {
        let many = if random.random_range(0..4) == 0 { 50 } else { 1 };
        let keys: Vec<String> = (0..many)
            .map(|_| format!("k{}", random.random_range(1..=self.options.keys)))
            .collect();
        sqlx::query(BUMP)
            .bind(keys)
            .bind(&self.topic)
            .bind(i32::try_from(LARGE_BYTES).unwrap())
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    }
}

/// How long a transaction is held open is what is tested here, not what is waited for.
async fn pause(random: &mut StdRng, most_ms: u64) {
    tokio::time::sleep(Duration::from_millis(random.random_range(1..=most_ms))).await;
}
