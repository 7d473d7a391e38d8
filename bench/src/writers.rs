use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use sqlx::PgPool;

use crate::ground::Ground;
use crate::report::Report;
use crate::{limits, pgbench};

const PATIENCE: Duration = Duration::from_secs(300);

/// Who writes as fast as the server commits, one event in each transaction.
pub(crate) struct Writers {
    pgbench: Option<PathBuf>,
    /// Of each run.
    seconds: u64,
}

/// Where they write.
pub(crate) struct Outbox<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) url: String,
    pub(crate) pool: PgPool,
    pub(crate) topic: &'a str,
}

impl Writers {
    /// PostgreSQL's own benchmark, or, where there is none, our own client, which takes more of the cores itself.
    pub(crate) async fn fetch(seconds: u64, report: &Report) -> Result<Self> {
        let pgbench = match pgbench::fetch().await? {
            Ok(program) => Some(program),
            Err(why) => {
                report.say(&format!(
                    "pgbench cannot be had here, and our own client writes: {why}"
                ));
                None
            }
        };
        Ok(Self { pgbench, seconds })
    }

    /// What they are called in figures.
    pub(crate) fn limit(&self) -> &'static str {
        match self.pgbench {
            Some(_) => "limit.pgbench",
            None => "limit.writers",
        }
    }

    /// Transactions per second.
    pub(crate) async fn rate(&self, outbox: &Outbox<'_>) -> Result<f64> {
        let Outbox {
            ground,
            url,
            pool,
            topic,
        } = outbox;
        match &self.pgbench {
            Some(program) => pgbench::writers(program, ground, (url, topic), self.seconds).await,
            None => limits::writers(pool, topic, self.seconds).await,
        }
    }
}

impl<'a> Outbox<'a> {
    /// A new one, and its topic.
    pub(crate) async fn new(ground: &'a Ground, topic: &'a str) -> Result<Self> {
        let (url, pool) = ground.outbox(topic).await?;
        ground.topic(topic).await?;
        Ok(Self {
            ground,
            url,
            pool,
            topic,
        })
    }

    /// Waits until somebody has published what was written so far: a backlog is not what writers have beside them.
    pub(crate) async fn is_read(&self) -> Result<()> {
        let written: i64 = sqlx::query_scalar("select count(*) from saga.outbox")
            .fetch_one(&self.pool)
            .await?;
        let written = usize::try_from(written)?;
        self.ground.filled(self.topic, written, PATIENCE).await?;
        Ok(())
    }

    /// Makes room for the next.
    pub(crate) async fn forget(self) -> Result<()> {
        self.pool.close().await;
        self.ground.forget_topic(self.topic).await
    }
}
