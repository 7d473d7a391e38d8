/// Debezium in Kafka Connect.
mod debezium;
/// The poller that most outbox libraries ship.
mod poller;

use std::time::Duration;

use anyhow::Result;
use local_stack::ConnectPrograms;
use sqlx::PgPool;
use tokio::task::spawn_blocking;

use crate::backlog;
use crate::crowd::{Crowd, Sessions};
use crate::ground::Ground;
use crate::held::{Snapshot, Tables};
use crate::latency::{self, Paced, Publishing};
use crate::limits::{self, RawRecord};
use crate::report::Report;
use debezium::Debezium;

const PACED: &str = "peers-paced";
/// Events a second of the latency.
const RATE: f64 = 500.0;
const PATIENCE: Duration = Duration::from_secs(400);
/// What of the latency nobody counts: a relay that has just begun does not know its topic yet.
const FIRST_SECONDS: u64 = 3;

/// What each of them is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Rows of the backlog.
    pub(crate) rows: usize,
    /// How often it is written and drained. Who comes later finds servers that have compiled more of their code, so ours and
    /// Debezium begin in turn.
    pub(crate) rounds: usize,
    /// Seconds of the latency.
    pub(crate) seconds: u64,
}

/// What the others stand beside.
#[derive(Debug, Clone, Copy)]
struct Ours {
    drained: Drained,
    p50: f64,
    p99: f64,
}

/// The same rows through ours, through Debezium, and through a poller, on the same servers, one after the other.
pub(crate) async fn measure(ground: &Ground, load: Load, report: &mut Report) -> Result<()> {
    let (url, pool) = ground.outbox("peers").await?;
    ground.topic(PACED).await?;
    let mut debezium = match spawn_blocking(ConnectPrograms::fetch).await? {
        Ok(programs) => Some(Debezium::warm(programs, ground, &pool, load.rows.div_ceil(2), report).await?),
        Err(error) => {
            report.say(&format!("Debezium cannot be had here and is left out: {error}"));
            None
        }
    };
    let (mut limits, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=load.rounds.max(1) {
        let topic = format!("peers-{round}");
        report.say(&format!("round {round}: writing {} events", load.rows));
        ground.topic(&topic).await?;
        if let Some(debezium) = &debezium {
            debezium.prepare(ground, &topic).await?;
        }
        backlog::fill(&pool, &topic, load.rows).await?;
        limits.push(limit(ground, &pool, (round, load.rows), report).await?);
        let begin_with_ours = round % 2 == 1;
        if begin_with_ours {
            ours.push(drain(ground, (&url, &pool), (&topic, load.rows), report).await?);
        }
        if let Some(stopped) = debezium.take() {
            let (stopped, drained) = stopped
                .drain(ground, &pool, (&topic, round, load.rows), report)
                .await?;
            theirs.push(drained);
            debezium = Some(stopped);
        }
        if !begin_with_ours {
            ours.push(drain(ground, (&url, &pool), (&topic, load.rows), report).await?);
        }
        let (limit, ours) = (limits[round - 1], ours[round - 1].rate);
        let figure = |who: &str| format!("peers.{who}.drain.{round}");
        report.compare(
            figure("relay"),
            ours,
            "events/s",
            limit,
            "min(COPY, raw producer)",
        );
        if let Some(theirs) = theirs.get(round - 1) {
            report.compare(figure("debezium"), theirs.rate, "events/s", ours, "ours");
        }
        sqlx::query("truncate saga.outbox").execute(&pool).await?;
        ground.forget_topic(&topic).await?;
    }
    let (drained, limit) = middle(ours.into_iter().zip(limits).collect(), |(drained, _)| {
        drained.rate
    });
    let beside = "min(COPY, raw producer)";
    report.compare("peers.relay.drain", drained.rate, "events/s", limit, beside);
    drained.tell_usage("relay", None, report);
    let (p50, p99) = paced(ground, (&url, &pool), load, report).await?;
    let ours = Ours { drained, p50, p99 };
    if let Some(debezium) = debezium {
        middle(theirs, |drained| drained.rate).tell("debezium", &ours, report);
        debezium.paced(ground, &pool, load, &ours, report).await?;
    }
    pool.close().await;
    ours_held(ground, load.rows, report).await?;
    poller::measure(ground, load, &ours, report).await
}

/// The run that half of the others do not exceed.
fn middle<T: Copy>(mut runs: Vec<T>, rate: impl Fn(&T) -> f64) -> T {
    runs.sort_by(|one, other| rate(one).total_cmp(&rate(other)));
    runs[(runs.len() - 1) / 2]
}

/// What the machine can do in this round: the slower of COPY out of the same table and a raw producer of records like ours.
async fn limit(
    ground: &Ground,
    pool: &PgPool,
    (round, rows): (usize, usize),
    report: &mut Report,
) -> Result<f64> {
    report.say("limits: COPY out of the same table, and a raw librdkafka producer");
    let copy = limits::copy_out(pool, rows).await?;
    let sample = rows.min(limits::MOST_OF_PRODUCER);
    let raw = limits::raw_producer(ground, sample, RawRecord::Event).await?;
    report.add(format!("peers.limit.copy_out.{round}"), copy, "rows/s");
    report.add(format!("peers.limit.raw_producer.{round}"), raw, "events/s");
    Ok(copy.min(raw))
}

/// The backlog through ours, which begins now.
async fn drain(
    ground: &Ground,
    (url, pool): (&str, &PgPool),
    (topic, rows): (&str, usize),
    report: &Report,
) -> Result<Drained> {
    report.say("draining: ours");
    let watch = Watch::begin(ground, pool, None).await?;
    let relay = latency::spawn_relay(ground, url, Publishing::AtLeastOnce)?;
    watch.drained(topic, rows, relay.id()).await
}

/// The latency of ours: its median and its 99th of a hundred, in milliseconds.
async fn paced(
    ground: &Ground,
    (url, pool): (&str, &PgPool),
    load: Load,
    report: &mut Report,
) -> Result<(f64, f64)> {
    report.say("500 events a second: ours");
    let relay = latency::spawn_relay(ground, url, Publishing::AtLeastOnce)?;
    let mut paced = at_a_pace(ground, pool, (PACED, PACED), load).await?;
    drop(relay);
    tell_commits("relay", &mut paced, report);
    let (p50, p99) = (paced.seen.percentile_ms(50), paced.seen.percentile_ms(99));
    report.add("peers.relay.latency.p50@500", p50, "ms");
    report.add("peers.relay.latency.p99@500", p99, "ms");
    Ok((p50, p99))
}

/// Ours with a snapshot held from before the first event to after the last.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
async fn ours_held(ground: &Ground, rows: usize, report: &mut Report) -> Result<()> {
    const TOPIC: &str = "peers-held";
    let (url, pool) = ground.outbox("peers_held").await?;
    ground.topic(TOPIC).await?;
    let snapshot = Snapshot::hold(&url).await?;
    backlog::fill(&pool, TOPIC, rows).await?;
    report.say("draining while another session holds a snapshot: ours");
    ground.settle().await?;
    let relay = latency::spawn_relay(ground, &url, Publishing::AtLeastOnce)?;
    let (first, last) = ground.filled(TOPIC, rows, PATIENCE).await?;
    report.add(
        "peers.relay.held.drain",
        per_second(rows, last.duration_since(first)),
        "events/s",
    );
    // Counts reach the statistics with a delay of a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(relay);
    report.add(
        "peers.relay.held.dead",
        Tables::of(&pool).await?.dead as f64,
        "rows",
    );
    snapshot.release().await?;
    pool.close().await;
    ground.forget_topic(TOPIC).await
}

/// From the moment before somebody begins.
struct Watch<'g> {
    ground: &'g Ground,
    pool: &'g PgPool,
    crowd: Crowd,
    sessions: Sessions,
}

impl<'g> Watch<'g> {
    /// `runs`: who does not start now, but runs already.
    async fn begin(ground: &'g Ground, pool: &'g PgPool, runs: Option<u32>) -> Result<Self> {
        ground.settle().await?;
        Ok(Self {
            ground,
            pool,
            sessions: Sessions::after_now(pool).await?,
            crowd: Crowd::begin(ground, runs.as_slice())?,
        })
    }

    /// Waits until all rows are in the topic.
    #[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
    async fn drained(self, topic: &str, rows: usize, program: u32) -> Result<Drained> {
        let (first, last) = self.ground.filled(topic, rows, PATIENCE).await?;
        let per_million = |used: Duration| used.as_secs_f64() * 1e6 / rows as f64;
        Ok(Drained {
            rate: per_second(rows, last.duration_since(first)),
            program: per_million(self.crowd.used(program)?),
            sessions: per_million(self.sessions.used(self.pool).await?),
            others: self.crowd.others(self.ground, &[program])?,
        })
    }
}

/// What somebody took for a backlog.
#[derive(Debug, Clone, Copy)]
struct Drained {
    /// Events per second.
    rate: f64,
    /// Processor seconds per million events: the program, and its sessions in the database.
    program: f64,
    sessions: f64,
    /// Cores that somebody else used meanwhile.
    others: f64,
}

impl Drained {
    /// A drain beside ours.
    fn tell(&self, name: &str, ours: &Ours, report: &mut Report) {
        let ours = &ours.drained;
        report.compare(
            format!("peers.{name}.drain"),
            self.rate,
            "events/s",
            ours.rate,
            "ours",
        );
        self.tell_usage(name, Some(ours), report);
    }

    fn tell_usage(&self, name: &str, ours: Option<&Self>, report: &mut Report) {
        type Of = fn(&Drained) -> f64;
        let figures: [(&str, Of); 2] = [
            ("cpu_per_million", |of| of.program),
            ("cpu_per_million.database", |of| of.sessions),
        ];
        for (figure, of) in figures {
            let name = format!("peers.{name}.{figure}");
            match ours {
                Some(ours) => report.compare(name, of(self), "s", of(ours), "ours"),
                None => report.add(name, of(self), "s"),
            }
        }
        report.add(format!("peers.{name}.cpu.of_others"), self.others, "cores");
    }
}

/// Latency from the topic that is written for to the one that is read, once a few events have gone that way.
async fn at_a_pace(
    ground: &Ground,
    pool: &PgPool,
    topics: (&'static str, &'static str),
    load: Load,
) -> Result<Paced> {
    ground.settle().await?;
    latency::paced(ground, pool, topics, None, RATE, FIRST_SECONDS).await?;
    latency::paced(ground, pool, topics, None, RATE, load.seconds).await
}

/// What of a latency is the database's alone.
fn tell_commits(name: &str, paced: &mut Paced, report: &mut Report) {
    let p99 = paced.committed.percentile_ms(99);
    report.add(format!("peers.{name}.latency.commit.p99@500"), p99, "ms");
}

/// A latency beside ours.
fn tell_latency(name: &str, mut paced: Paced, ours: &Ours, report: &mut Report) {
    tell_commits(name, &mut paced, report);
    for (percent, ours) in [(50, ours.p50), (99, ours.p99)] {
        let value = paced.seen.percentile_ms(percent);
        report.compare(
            format!("peers.{name}.latency.p{percent}@500"),
            value,
            "ms",
            ours,
            "ours",
        );
    }
}

#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
fn per_second(rows: usize, elapsed: Duration) -> f64 {
    rows as f64 / elapsed.as_secs_f64()
}
