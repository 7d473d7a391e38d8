use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cores::Halves;
use crate::crowd::Sessions;
use crate::ground::Ground;
use crate::latency::{self, Publishing};
use crate::neighbour::Neighbour;
use crate::report::Report;
use crate::writers::{Outbox, Writers};
use crate::{limits, usage};

const ROUNDS: usize = 3;
/// What writers should keep.
const MARK: f64 = 0.95;

/// What writers keep beside the relay, which costs them cores, and beside a neighbour who takes as many and touches neither
/// the disk nor the database. Then with two halves of the machine: they and PostgreSQL on one, the relay and Kafka on the other.
pub(crate) async fn measure(ground: &Ground, seconds: u64, report: &mut Report) -> Result<()> {
    let writers = Writers::fetch(seconds.min(10), report).await?;
    let mut rounds = Vec::new();
    for n in 1..=ROUNDS {
        report.say(&format!(
            "round {n} of {ROUNDS}: 16 writers alone, beside the relay, beside a neighbour"
        ));
        rounds.push(Round::of(ground, &writers, &format!("writers_{n}")).await?);
    }
    let round = middle(rounds, Round::kept);
    round.tell(&writers, report);
    let own = Outbox::new(ground, "writers_own").await?;
    let rate = limits::writers(&own.pool, own.topic, seconds.min(10)).await?;
    report.compare("limit.writers.own", rate, "tx/s", round.alone, "writers alone");
    own.forget().await?;

    let Some(halves) = Halves::of_ours()? else {
        report.say("there is one core: nothing can be kept apart");
        return Ok(());
    };
    let mut rounds = Vec::new();
    for n in 1..=ROUNDS {
        report.say(&format!(
            "round {n} of {ROUNDS}: writers and PostgreSQL on half of the cores, the relay and Kafka on the others"
        ));
        rounds.push(Apart::of(ground, &writers, &halves, &format!("apart_{n}")).await?);
    }
    let round = middle(rounds, Apart::kept);
    let name = "relay.writers.apart";
    report.compare(name, round.together, "tx/s", round.alone, "writers alone there");
    report.compare("relay.writers.apart.kept", round.kept(), "of alone", MARK, "mark");
    report.add("relay.writers.apart.sessions", round.sessions, "cores");
    Ok(())
}

/// The same writers, one after the other.
struct Round {
    alone: f64,
    together: f64,
    cores: Cores,
    neighbour: f64,
    /// What the neighbour got.
    burnt: f64,
}

/// What was taken while writers had the relay beside them.
struct Cores {
    relay: f64,
    /// Its sessions in PostgreSQL.
    sessions: f64,
    kafka: f64,
}

impl Round {
    #[allow(clippy::float_arithmetic)]
    async fn of(ground: &Ground, writers: &Writers, topic: &str) -> Result<Self> {
        let outbox = Outbox::new(ground, topic).await?;
        let alone = writers.rate(&outbox).await?;
        let (together, cores) = beside_relay(&outbox, writers, |_| Ok(())).await?;
        let (begun, neighbour) = (Instant::now(), Neighbour::taking(cores.sum()));
        let beside = writers.rate(&outbox).await?;
        let burnt = neighbour.leave()?.as_secs_f64() / begun.elapsed().as_secs_f64();
        outbox.forget().await?;
        Ok(Self {
            alone,
            together,
            cores,
            neighbour: beside,
            burnt,
        })
    }

    #[allow(clippy::float_arithmetic)]
    fn kept(&self) -> f64 {
        self.together / self.alone
    }

    #[allow(clippy::float_arithmetic)]
    fn tell(&self, writers: &Writers, report: &mut Report) {
        report.add(writers.limit(), self.alone, "tx/s");
        report.compare(
            "relay.writers",
            self.together,
            "tx/s",
            self.alone,
            "writers alone",
        );
        report.compare("relay.writers.of_alone", self.kept(), "of alone", MARK, "mark");
        for (who, cores) in [
            ("relay.writers.cores", self.cores.sum()),
            ("relay.writers.cores.relay", self.cores.relay),
            ("relay.writers.cores.sessions", self.cores.sessions),
            ("relay.writers.cores.kafka", self.cores.kafka),
            ("relay.writers.neighbour.cores", self.burnt),
        ] {
            report.add(who, cores, "cores");
        }
        let beside = self.neighbour / self.alone;
        report.compare(
            "relay.writers.neighbour",
            self.neighbour,
            "tx/s",
            self.alone,
            "writers alone",
        );
        report.compare(
            "relay.writers.kept",
            self.kept(),
            "of alone",
            beside,
            "beside the neighbour",
        );
    }
}

impl Cores {
    #[allow(clippy::float_arithmetic)]
    fn sum(&self) -> f64 {
        self.relay + self.sessions + self.kafka
    }
}

/// As if the relay and the broker had a machine of their own.
struct Apart {
    alone: f64,
    together: f64,
    sessions: f64,
}

impl Apart {
    async fn of(ground: &Ground, writers: &Writers, halves: &Halves, topic: &str) -> Result<Self> {
        let outbox = Outbox::new(ground, topic).await?;
        let (postgres, kafka) = ground.servers()?;
        let mut here = usage::family(postgres);
        // Whom we start is where we are.
        here.push(std::process::id());
        let measured = async {
            halves.to_first(&here)?;
            halves.to_second(&[kafka])?;
            let alone = writers.rate(&outbox).await?;
            let beside = beside_relay(&outbox, writers, |relay| halves.to_second(&[relay])).await?;
            anyhow::Ok((alone, beside))
        }
        .await;
        // Also after an error: whatever is measured next has the whole machine. There are other sessions by now.
        let mut all = usage::family(postgres);
        all.extend([kafka, std::process::id()]);
        halves.release(&all)?;
        let (alone, (together, cores)) = measured?;
        outbox.forget().await?;
        Ok(Self {
            alone,
            together,
            sessions: cores.sessions,
        })
    }

    #[allow(clippy::float_arithmetic)]
    fn kept(&self) -> f64 {
        self.together / self.alone
    }
}

/// Transactions per second with a relay at work, once it has published what was there before.
#[allow(clippy::float_arithmetic)]
async fn beside_relay(
    outbox: &Outbox<'_>,
    writers: &Writers,
    settle: impl Fn(u32) -> Result<()>,
) -> Result<(f64, Cores)> {
    let ground = outbox.ground;
    let (_, kafka) = ground.servers()?;
    let sessions = Sessions::after_now(&outbox.pool).await?;
    let relay = latency::spawn_relay(ground, &outbox.url, Publishing::AtLeastOnce)?;
    settle(relay.id())?;
    outbox.is_read().await?;
    let taken = async || {
        anyhow::Ok([
            usage::of(relay.id())?.processor,
            sessions.used(&outbox.pool).await?,
            usage::of(kafka)?.processor,
        ])
    };
    let (begun, before) = (Instant::now(), taken().await?);
    let rate = writers.rate(outbox).await?;
    let (took, after) = (begun.elapsed(), taken().await?);
    let cores = |n: usize| of(after[n].saturating_sub(before[n]), took);
    let cores = Cores {
        relay: cores(0),
        sessions: cores(1),
        kafka: cores(2),
    };
    Ok((rate, cores))
}

#[allow(clippy::float_arithmetic)]
fn of(processor: Duration, took: Duration) -> f64 {
    processor.as_secs_f64() / took.as_secs_f64()
}

fn middle<T>(mut rounds: Vec<T>, by: impl Fn(&T) -> f64) -> T {
    rounds.sort_by(|a, b| by(a).total_cmp(&by(b)));
    rounds.swap_remove(rounds.len() / 2)
}
