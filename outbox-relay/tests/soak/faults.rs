use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use local_stack::TestStack;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::TOPIC;
use super::options::{Options, QUICK_MS};
use super::support::Outbox;
use super::writers::{LARGE_BYTES, Progress};

/// Two processes, of which one has the lease and the other stands by.
pub struct Relays {
    outbox: Outbox,
    /// Where they write their logs.
    dir: PathBuf,
    transactional: bool,
    running: [Child; 2],
}

impl Relays {
    pub fn start(outbox: &Outbox, dir: &Path, options: Options) -> Result<Self> {
        let transactional = options.transactional;
        Ok(Self {
            running: [
                spawn(outbox, (dir, 0), transactional)?,
                spawn(outbox, (dir, 1), transactional)?,
            ],
            outbox: outbox.clone(),
            dir: dir.to_owned(),
            transactional,
        })
    }

    fn start_again(&mut self, which: usize) -> Result<()> {
        self.running[which] = spawn(&self.outbox, (&self.dir, which), self.transactional)?;
        Ok(())
    }

    fn pid(&self, which: usize) -> Result<Pid> {
        let pid = self.running[which]
            .id()
            .context("the relay has ended by itself")?;
        Pid::from_raw(i32::try_from(pid)?).context("a process id")
    }

    async fn kill(&mut self, which: usize) -> Result<()> {
        self.running[which].kill().await?;
        self.start_again(which)
    }

    async fn terminate(&mut self, which: usize) -> Result<()> {
        self.signal(which, Signal::TERM)?;
        self.running[which].wait().await?;
        self.start_again(which)
    }

    fn signal(&self, which: usize, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid(which)?, signal)?)
    }
}

fn in_logs(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

const LEASE: Duration = Duration::from_secs(1);
/// So that the other one takes over meanwhile.
const PAST_LEASE: Duration = Duration::from_secs(2);

/// What a topic takes: usually, and when it refuses what is large. Batches are refused as well as events then, by a broker
/// that the relay has asked before.
const USUAL: usize = 1_000_000;
const REFUSING: usize = LARGE_BYTES / 2;

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    RelayKilled,
    RelayStopped,
    RelayFrozen,
    BrokerFrozen,
    BrokerKilled,
    DatabaseCrashed,
    TopicRefuses,
    /// One of the others happens while the topic refuses what is large.
    TopicRefusesMeanwhile,
    /// The topic refuses what is large while a relay is frozen, and no longer when it wakes up. What its successor has parked by
    /// then it sends: only a broker can keep it from that (ADR 8), so only in transactions this has to end well.
    TopicRefusesSleeper,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::RelayKilled => "relays killed",
            Self::RelayStopped => "relays stopped",
            Self::RelayFrozen => "relays frozen past their lease",
            Self::BrokerFrozen => "brokers frozen",
            Self::BrokerKilled => "brokers killed",
            Self::DatabaseCrashed => "databases crashed",
            Self::TopicRefuses => "topics refuse what is large",
            Self::TopicRefusesMeanwhile => "topics refuse while something else happens",
            Self::TopicRefusesSleeper => "topics refuse while a relay is frozen",
        }
    }
}

/// What may happen while something else does.
const ALONE: [Fault; 6] = [
    Fault::RelayKilled,
    Fault::RelayStopped,
    Fault::RelayFrozen,
    Fault::BrokerFrozen,
    Fault::BrokerKilled,
    Fault::DatabaseCrashed,
];

/// A round of all, some of them more often.
const ROUND: [Fault; 16] = [
    Fault::RelayKilled,
    Fault::RelayKilled,
    Fault::RelayKilled,
    Fault::RelayKilled,
    Fault::RelayKilled,
    Fault::RelayStopped,
    Fault::RelayFrozen,
    Fault::RelayFrozen,
    Fault::BrokerFrozen,
    Fault::BrokerFrozen,
    Fault::BrokerKilled,
    Fault::DatabaseCrashed,
    Fault::TopicRefuses,
    Fault::TopicRefuses,
    Fault::TopicRefusesMeanwhile,
    Fault::TopicRefusesMeanwhile,
];

/// The log of one goes on where the one before it ended.
fn spawn(outbox: &Outbox, (dir, which): (&Path, usize), transactional: bool) -> Result<Child> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join(format!("relay-{which}.log")))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_outbox-relay"));
    command.arg("run").env_clear();
    if transactional {
        command.env("RELAY_TRANSACTIONAL_ID_PREFIX", &outbox.name);
    }
    Ok(command
        .env("RELAY_SOURCES", outbox.source())
        .env("RELAY_KAFKA_BROKERS", &outbox.servers.kafka_brokers)
        .env("RELAY_LEASE_MS", LEASE.as_millis().to_string())
        .env("RELAY_ADMIN_LISTEN", "127.0.0.1:0")
        .env("RELAY_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()?)
}

/// What was injected, how often, and the relays, which go on.
pub type Injected = (Relays, Vec<(&'static str, u32)>);

/// What goes wrong, in an order that the seed repeats.
pub struct Faults {
    stack: Arc<TestStack>,
    relays: Relays,
    topic: String,
    random: StdRng,
    pause_ms: u64,
    injected: Vec<(&'static str, u32)>,
    /// What was injected when.
    log: File,
}

impl Faults {
    pub fn new(stack: Arc<TestStack>, (relays, topic): (Relays, &str), options: Options) -> Result<Self> {
        let log = File::create(relays.dir.join("faults.log"))?;
        Ok(Self {
            stack,
            relays,
            topic: topic.to_owned(),
            random: StdRng::seed_from_u64(options.seed),
            pause_ms: options.pause_ms,
            injected: Vec::new(),
            log,
        })
    }

    /// One after the other until everything is written; at least one round of all. The first round comes quickly, the
    /// later ones leave some time for work.
    pub fn keep_coming(mut self, progress: Arc<Progress>) -> JoinHandle<Result<Injected>> {
        tokio::spawn(async move {
            let (mut longest_ms, mut rounds) = (QUICK_MS, 0);
            loop {
                let enough = |rounds| rounds > 0 && progress.written_all.load(Ordering::Acquire);
                let mut faults = ROUND.to_vec();
                if self.relays.transactional {
                    faults.push(Fault::TopicRefusesSleeper);
                }
                while !faults.is_empty() && !enough(rounds) {
                    let fault = faults.swap_remove(self.random.random_range(0..faults.len()));
                    // Also while all recover from the last one.
                    let pause = Duration::from_millis(self.random.random_range(50..longest_ms));
                    tokio::time::sleep(pause).await;
                    self.inject(fault).await?;
                    progress.faults.fetch_add(1, Ordering::Relaxed);
                }
                rounds += 1;
                if enough(rounds) {
                    return Ok((self.relays, self.injected));
                }
                longest_ms = self.pause_ms;
            }
        })
    }

    async fn inject(&mut self, fault: Fault) -> Result<()> {
        let began = in_logs(Utc::now());
        let which = self.random.random_range(0..2);
        match fault {
            Fault::RelayKilled => self.relays.kill(which).await?,
            Fault::RelayStopped => self.relays.terminate(which).await?,
            Fault::RelayFrozen => {
                self.relays.signal(which, Signal::STOP)?;
                tokio::time::sleep(PAST_LEASE).await;
                self.relays.signal(which, Signal::CONT)?;
            }
            Fault::BrokerFrozen => {
                self.stack.kafka().pause();
                self.pause(100..5000).await;
                self.stack.kafka().resume();
            }
            Fault::BrokerKilled => {
                let stack = self.stack.clone();
                tokio::task::spawn_blocking(move || {
                    stack.kafka().kill()?;
                    stack.kafka().start()
                })
                .await??;
            }
            Fault::DatabaseCrashed => {
                let stack = self.stack.clone();
                tokio::task::spawn_blocking(move || {
                    stack.postgres().stop_immediately()?;
                    stack.postgres().start()
                })
                .await??;
            }
            Fault::TopicRefuses => {
                self.limit_topic(REFUSING).await?;
                self.pause(100..3000).await;
                self.limit_topic(USUAL).await?;
            }
            Fault::TopicRefusesMeanwhile => {
                self.limit_topic(REFUSING).await?;
                self.pause(1..300).await;
                let other = ALONE[self.random.random_range(0..ALONE.len())];
                Box::pin(self.inject(other)).await?;
                self.pause(1..1500).await;
                self.limit_topic(USUAL).await?;
            }
            Fault::TopicRefusesSleeper => {
                self.relays.signal(which, Signal::STOP)?;
                self.pause(1..1000).await;
                self.limit_topic(REFUSING).await?;
                tokio::time::sleep(PAST_LEASE).await;
                self.limit_topic(USUAL).await?;
                self.pause(1..300).await;
                self.relays.signal(which, Signal::CONT)?;
            }
        }
        let (name, ended) = (fault.name(), in_logs(Utc::now()));
        writeln!(
            self.log,
            "{began} to {ended}: {name} (relay {which}, if it is a relay's)"
        )?;
        match self.injected.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => self.injected.push((name, 1)),
        }
        Ok(())
    }

    /// How long something goes on is what is tested here, not what is waited for.
    async fn pause(&mut self, ms: Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.random.random_range(ms))).await;
    }

    async fn limit_topic(&self, bytes: usize) -> Result<()> {
        let bytes = bytes.to_string();
        // What is not said is reset.
        let config = TOPIC.into_iter().chain([("max.message.bytes", bytes.as_str())]);
        self.relays.outbox.configure_topic(&self.topic, config).await
    }
}
