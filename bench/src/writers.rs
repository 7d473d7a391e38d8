use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::PgPool;

use crate::ground::Ground;
use crate::neighbour::Neighbour;
use crate::report::Report;
use crate::{limits, pgbench};

const PATIENCE: Duration = Duration::from_secs(300);

/// Who writes as fast as the server commits, one event in each transaction: PostgreSQL's own benchmark, or, where there is
/// none, our own client, which takes more of the cores itself.
pub(crate) struct Writers<'g> {
    ground: &'g Ground,
    url: &'g str,
    pool: &'g PgPool,
    topic: &'static str,
    /// Of each run.
    seconds: u64,
    pgbench: Option<PathBuf>,
}

impl<'g> Writers<'g> {
    /// Those of an outbox.
    pub(crate) async fn of(
        ground: &'g Ground,
        (url, pool): (&'g str, &'g PgPool),
        (topic, seconds): (&'static str, u64),
        report: &Report,
    ) -> Result<Self> {
        let pgbench = match pgbench::fetch().await? {
            Ok(program) => Some(program),
            Err(why) => {
                report.say(&format!(
                    "pgbench cannot be had here, and our own client writes: {why}"
                ));
                None
            }
        };
        Ok(Self {
            ground,
            url,
            pool,
            topic,
            seconds,
            pgbench,
        })
    }

    /// Transactions per second with the relay away. Also tells how our own client, whom the latencies need, stands beside pgbench.
    pub(crate) async fn alone(&self, report: &mut Report) -> Result<f64> {
        report.say("limit: 16 writers of one event per transaction, with the relay away");
        let own = self.own().await?;
        let Some(_) = self.pgbench else {
            report.add("limit.writers", own, "tx/s");
            return Ok(own);
        };
        report.say("limit: the same by pgbench");
        let limit = self.rate().await?;
        report.add("limit.pgbench", limit, "tx/s");
        report.compare("limit.writers", own, "tx/s", limit, "pgbench");
        Ok(limit)
    }

    /// Transactions per second.
    pub(crate) async fn rate(&self) -> Result<f64> {
        match &self.pgbench {
            Some(program) => {
                let (at, seconds) = ((self.url, self.topic), self.seconds);
                pgbench::writers(program, self.ground, at, seconds).await
            }
            None => self.own().await,
        }
    }

    /// The same of our own client.
    pub(crate) async fn own(&self) -> Result<f64> {
        limits::writers(self.pool, self.topic, self.seconds).await
    }

    /// Waits until somebody has published what was written so far: a backlog is not what writers have beside them.
    pub(crate) async fn are_read(&self) -> Result<()> {
        let written: i64 = sqlx::query_scalar("select count(*) from saga.outbox")
            .fetch_one(self.pool)
            .await?;
        let written = usize::try_from(written)?;
        self.ground.filled(self.topic, written, PATIENCE).await?;
        Ok(())
    }

    /// What the relay takes from writers apart from cores: beside somebody who takes as many and nothing else, what do they
    /// keep?
    #[allow(clippy::float_arithmetic)]
    pub(crate) async fn beside_neighbour(
        &self,
        cores: f64,
        (together, alone): (f64, f64),
        report: &mut Report,
    ) -> Result<()> {
        report.say(&format!(
            "the same writers alone once more, and beside a neighbour who takes {cores:.2} cores"
        ));
        let alone_again = self.rate().await?;
        let (begun, neighbour) = (Instant::now(), Neighbour::taking(cores));
        let beside = self.rate().await?;
        let got = neighbour.leave()?.as_secs_f64() / begun.elapsed().as_secs_f64();
        let figure = "relay.writers.neighbour";
        report.compare(figure, beside, "tx/s", alone_again, "writers alone");
        report.add("relay.writers.neighbour.cores", got, "cores");
        report.compare(
            "relay.writers.kept",
            together / alone,
            "of alone",
            beside / alone_again,
            "beside the neighbour",
        );
        Ok(())
    }
}
