use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::PgPool;

use crate::ground::Ground;
use crate::usage;

/// What the machine has done since a moment, and who did it.
#[derive(Debug)]
pub(crate) struct Crowd {
    begun: Instant,
    machine: Duration,
    servers: Duration,
    before: BTreeMap<u32, Duration>,
}

impl Crowd {
    /// From now on. `programs` are those that run already; one that is started later counts from its start.
    pub(crate) fn begin(ground: &Ground, programs: &[u32]) -> Result<Self> {
        let used = |pid: &u32| anyhow::Ok((*pid, usage::of(*pid)?.processor));
        Ok(Self {
            begun: Instant::now(),
            machine: usage::of_machine()?,
            servers: servers(ground)?,
            before: programs.iter().map(used).collect::<Result<_>>()?,
        })
    }

    /// Processor time of a program since then.
    pub(crate) fn used(&self, program: u32) -> Result<Duration> {
        let before = self.before.get(&program).copied().unwrap_or_default();
        Ok(usage::of(program)?.processor.saturating_sub(before))
    }

    /// Cores that somebody else used meanwhile: neither the servers nor these programs nor this one.
    #[allow(clippy::float_arithmetic)]
    pub(crate) fn others(&self, ground: &Ground, programs: &[u32]) -> Result<f64> {
        let mut ours = servers(ground)?.saturating_sub(self.servers);
        for program in programs {
            ours += self.used(*program)?;
        }
        let busy = usage::of_machine()?.saturating_sub(self.machine);
        Ok(busy.saturating_sub(ours).as_secs_f64() / self.begun.elapsed().as_secs_f64())
    }
}

fn servers(ground: &Ground) -> Result<Duration> {
    let (postgres, kafka) = ground.servers()?;
    let us = usage::of(std::process::id())?;
    Ok(usage::of_family(postgres)?.processor + usage::of(kafka)?.processor + us.processor)
}

/// Sessions of a database that came after a moment.
#[derive(Debug)]
pub(crate) struct Sessions(BTreeSet<i32>);

impl Sessions {
    /// Those that are there now do not count.
    pub(crate) async fn after_now(pool: &PgPool) -> Result<Self> {
        Ok(Self(sessions(pool).await?))
    }

    /// The same of several databases.
    pub(crate) async fn after_now_in(pools: &[PgPool]) -> Result<Vec<Self>> {
        let mut sessions = Vec::new();
        for pool in pools {
            sessions.push(Self::after_now(pool).await?);
        }
        Ok(sessions)
    }

    /// Processor time of those that came, a sender of the log among them.
    pub(crate) async fn used(&self, pool: &PgPool) -> Result<Duration> {
        let now = sessions(pool).await?;
        // One may end while we look.
        let came = now
            .difference(&self.0)
            .filter_map(|pid| usage::of(u32::try_from(*pid).ok()?).ok());
        Ok(came.map(|usage| usage.processor).sum())
    }
}

async fn sessions(pool: &PgPool) -> Result<BTreeSet<i32>> {
    let pids: Vec<i32> = sqlx::query_scalar(
        "select pid from pg_stat_activity \
         where datname = current_database() and backend_type in ('client backend', 'walsender')",
    )
    .fetch_all(pool)
    .await?;
    Ok(pids.into_iter().collect())
}
