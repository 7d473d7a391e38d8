use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use local_stack::TestStack;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::support::Outbox;
use super::writers::{LARGE_BYTES, Progress};

/// Two processes, of which one has the lease and the other stands by.
pub struct Relays {
    outbox: Outbox,
    running: [Child; 2],
}

impl Relays {
    pub async fn start(outbox: &Outbox) -> Result<Self> {
        Ok(Self {
            running: [spawn(outbox)?, spawn(outbox)?],
            outbox: outbox.clone(),
        })
    }

    fn pid(&self, which: usize) -> Result<Pid> {
        let pid = self.running[which]
            .id()
            .context("the relay has ended by itself")?;
        Pid::from_raw(i32::try_from(pid)?).context("a process id")
    }

    async fn kill(&mut self, which: usize) -> Result<()> {
        self.running[which].kill().await?;
        self.running[which] = spawn(&self.outbox)?;
        Ok(())
    }

    async fn terminate(&mut self, which: usize) -> Result<()> {
        kill_process(self.pid(which)?, Signal::TERM)?;
        self.running[which].wait().await?;
        self.running[which] = spawn(&self.outbox)?;
        Ok(())
    }

    /// Longer than its lease, so that the other one takes over meanwhile.
    async fn freeze(&mut self, which: usize) -> Result<()> {
        kill_process(self.pid(which)?, Signal::STOP)?;
        tokio::time::sleep(LEASE * 2).await;
        kill_process(self.pid(which)?, Signal::CONT)?;
        Ok(())
    }
}

const LEASE: Duration = Duration::from_secs(1);

fn spawn(outbox: &Outbox) -> Result<Child> {
    Ok(Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .arg("run")
        .env_clear()
        .env("RELAY_SOURCES", outbox.source())
        .env("RELAY_KAFKA_BROKERS", &outbox.servers.kafka_brokers)
        .env("RELAY_LEASE_MS", LEASE.as_millis().to_string())
        .env("RELAY_ADMIN_LISTEN", "127.0.0.1:0")
        .env("RELAY_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
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
    injected: Vec<(&'static str, u32)>,
}

impl Faults {
    pub fn new(stack: Arc<TestStack>, (relays, topic): (Relays, &str), seed: u64) -> Self {
        Self {
            stack,
            relays,
            topic: topic.to_owned(),
            random: StdRng::seed_from_u64(seed),
            injected: Vec::new(),
        }
    }

    /// One after the other until everything is written; at least one round of all. The first round comes quickly, the
    /// later ones leave some time for work.
    pub fn keep_coming(mut self, progress: Arc<Progress>) -> JoinHandle<Result<Injected>> {
        tokio::spawn(async move {
            let (mut longest_ms, mut rounds) = (1500, 0);
            loop {
                let enough = |rounds| rounds > 0 && progress.written_all.load(Ordering::Acquire);
                let mut kinds = vec![0, 0, 0, 0, 0, 1, 2, 2, 3, 3, 4, 5, 6, 6];
                while !kinds.is_empty() && !enough(rounds) {
                    let kind = kinds.swap_remove(self.random.random_range(0..kinds.len()));
                    // Also while all recover from the last one.
                    let pause = Duration::from_millis(self.random.random_range(50..longest_ms));
                    tokio::time::sleep(pause).await;
                    self.inject(kind).await?;
                    progress.faults.fetch_add(1, Ordering::Relaxed);
                }
                rounds += 1;
                if enough(rounds) {
                    return Ok((self.relays, self.injected));
                }
                longest_ms = 15_000;
            }
        })
    }

    async fn inject(&mut self, kind: u8) -> Result<()> {
        let which = self.random.random_range(0..2);
        let name = match kind {
            0 => {
                self.relays.kill(which).await?;
                "relays killed"
            }
            1 => {
                self.relays.terminate(which).await?;
                "relays stopped"
            }
            2 => {
                self.relays.freeze(which).await?;
                "relays frozen past their lease"
            }
            3 => {
                self.stack.kafka().pause();
                tokio::time::sleep(Duration::from_millis(self.random.random_range(100..5000))).await;
                self.stack.kafka().resume();
                "brokers frozen"
            }
            4 => {
                let stack = self.stack.clone();
                tokio::task::spawn_blocking(move || {
                    stack.kafka().kill()?;
                    stack.kafka().start()
                })
                .await??;
                "brokers killed"
            }
            5 => {
                let stack = self.stack.clone();
                tokio::task::spawn_blocking(move || {
                    stack.postgres().stop_immediately()?;
                    stack.postgres().start()
                })
                .await??;
                "databases crashed"
            }
            _ => {
                // Batches are refused as well as events, by a broker that the relay has asked before.
                let (limit, usual) = (LARGE_BYTES / 2, 1_000_000);
                self.limit_topic(limit).await?;
                tokio::time::sleep(Duration::from_millis(self.random.random_range(100..3000))).await;
                self.limit_topic(usual).await?;
                "topics refuse what is large"
            }
        };
        match self.injected.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => self.injected.push((name, 1)),
        }
        Ok(())
    }

    async fn limit_topic(&self, bytes: usize) -> Result<()> {
        let outbox = &self.relays.outbox;
        let bytes = bytes.to_string();
        outbox.alter_topic(&self.topic, "max.message.bytes", &bytes).await
    }
}
