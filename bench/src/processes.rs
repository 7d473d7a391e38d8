use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use failure_tests::System;
use failure_tests::system::PROGRAMS;
use local_stack::{Daemon, TestStack};
use sqlx::PgPool;

use crate::report::Report;
use crate::usage::{self, Usage};

const DATABASE: &str = "postgresql";

const SESSIONS: &str = "select pid, usename::text from pg_stat_activity where usename is not null";

/// Everything that has a part in a saga, this process included: it plays the customers.
#[derive(Debug)]
pub(crate) struct Processes {
    all: Vec<(&'static str, u32)>,
    postgres: u32,
    database: PgPool,
}

/// What everybody has used so far.
#[derive(Debug)]
pub(crate) struct Snapshot {
    processes: BTreeMap<&'static str, Usage>,
    /// Processor time of the database's processes, by the role that they work for.
    sessions: BTreeMap<String, Duration>,
    machine: Duration,
}

impl Processes {
    pub(crate) async fn of(system: &System, stack: &TestStack) -> Result<Self> {
        let mut all = Vec::new();
        for name in PROGRAMS {
            let pid = system.program(name).pid();
            all.push((*name, pid.with_context(|| format!("{name} has ended"))?));
        }
        let postgres = pid(stack.postgres().daemon()).context("PostgreSQL has ended")?;
        all.push(("kafka", pid(stack.kafka().daemon()).context("Kafka has ended")?));
        all.push(("callers", std::process::id()));
        Ok(Self {
            all,
            postgres,
            database: system.database("order").await?,
        })
    }

    pub(crate) async fn look(&self) -> Result<Snapshot> {
        let roles: Vec<(i32, String)> = sqlx::query_as(SESSIONS).fetch_all(&self.database).await?;
        let mut sessions = BTreeMap::new();
        for (pid, used) in usage::of_children(self.postgres) {
            let role = roles.iter().find(|(known, _)| u32::try_from(*known) == Ok(pid));
            let role = role.map_or("itself", |(_, role)| role.as_str());
            *sessions.entry(role.to_owned()).or_default() += used;
        }
        let used = |(name, pid): &(&'static str, u32)| anyhow::Ok((*name, usage::of(*pid)?));
        let mut processes: BTreeMap<_, _> = self.all.iter().map(used).collect::<Result<_>>()?;
        processes.insert(DATABASE, usage::of_family(self.postgres)?);
        Ok(Snapshot {
            processes,
            sessions,
            machine: usage::of_machine()?,
        })
    }
}

/// The profile: processor time per saga of everybody, and what is resident at the end.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
pub(crate) fn compare(
    before: &Snapshot,
    after: &Snapshot,
    sagas: usize,
    elapsed: Duration,
    report: &mut Report,
) {
    let per_saga = |used: Duration| used.as_secs_f64() * 1e6 / sagas as f64;
    let mut whole = Duration::ZERO;
    for (name, now) in &after.processes {
        let then = before.processes.get(name).copied().unwrap_or_default();
        let used = now.processor.saturating_sub(then.processor);
        whole += used;
        report.add(format!("saga.cpu.{name}"), per_saga(used), "us/saga");
        if *name != DATABASE {
            continue;
        }
        for (role, now) in &after.sessions {
            let then = before.sessions.get(role).copied().unwrap_or_default();
            let used = now.saturating_sub(then);
            if !used.is_zero() {
                report.add(format!("saga.cpu.{name}.{role}"), per_saga(used), "us/saga");
            }
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let there_was = elapsed * u32::try_from(cores).unwrap_or(1);
    report.compare(
        "saga.cpu",
        per_saga(whole),
        "us/saga",
        per_saga(there_was),
        "all cores",
    );
    let busy = after.machine.saturating_sub(before.machine);
    let others = busy.saturating_sub(whole).as_secs_f64() / elapsed.as_secs_f64();
    report.compare("saga.cpu.of_others", others, "cores", cores as f64, "all cores");
    for (name, now) in &after.processes {
        report.add(format!("resident.{name}"), now.resident_kb as f64 / 1024.0, "MB");
    }
}

pub(crate) fn pid(daemon: &Daemon) -> Option<u32> {
    u32::try_from(daemon.pid()?.as_raw_nonzero().get()).ok()
}
