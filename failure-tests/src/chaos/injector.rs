use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::stream::{self, TryStreamExt as _};
use local_stack::{StackError, Weather};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::chaos::fault::{CLOCKS, Fault, LINES, Line, Misbehaviour};
use crate::chaos::ground::Ground;
use crate::chaos::keeper::Keeper;
use crate::chaos::pace::Pace;
use crate::chaos::poison::Poison;
use crate::chaos::schedule::{Planned, Schedule};
use crate::chaos::watch::Watch;
use crate::provider::Provider;
use crate::wait::until;

/// Faults at the same time.
const AT_ONCE: usize = 3;
/// How long the provider's bad mood lasts if nobody calls.
const MOOD: Duration = Duration::from_secs(3);
/// Longer than payment waits for an answer.
const TOO_LATE_MS: u64 = 1_500;
/// How long a second process may take until it is ready. One that comes into an outage is not.
const READY: Duration = Duration::from_secs(8);

/// Does to the shop what the schedule says.
#[derive(Debug)]
pub(crate) struct Injector {
    pub(crate) ground: Arc<Ground>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) poison: Arc<Poison>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) pace: Arc<Pace>,
    provider: Provider,
    /// Who has something in hand. What does not run cannot be frozen, and what is frozen cannot be restarted.
    hands: Hands,
}

#[derive(Debug)]
struct Hands {
    database: Arc<Mutex<()>>,
    broker: Arc<Mutex<()>>,
    provider: Arc<Mutex<()>>,
    lines: BTreeMap<Line, Arc<Mutex<()>>>,
    clocks: BTreeMap<&'static str, Arc<Mutex<()>>>,
}

impl Hands {
    fn new() -> Self {
        Self {
            database: Arc::default(),
            broker: Arc::default(),
            provider: Arc::default(),
            lines: LINES.iter().map(|line| (*line, Arc::default())).collect(),
            clocks: CLOCKS.iter().map(|name| (*name, Arc::default())).collect(),
        }
    }
}

async fn hold(hand: &Arc<Mutex<()>>) -> OwnedMutexGuard<()> {
    Arc::clone(hand).lock_owned().await
}

impl Injector {
    pub(crate) fn new(
        ground: Arc<Ground>,
        keeper: Arc<Keeper>,
        poison: Arc<Poison>,
        watch: Arc<Watch>,
        pace: Arc<Pace>,
    ) -> Result<Self> {
        Ok(Self {
            provider: Provider::of(&ground.system)?,
            ground,
            keeper,
            poison,
            watch,
            pace,
            hands: Hands::new(),
        })
    }

    /// All faults, each at its moment, a few at the same time.
    pub(crate) async fn run(self: Arc<Self>, schedule: &Schedule) -> Result<()> {
        let numbered = schedule.faults.iter().copied().enumerate();
        stream::iter(numbered.map(Ok))
            .try_for_each_concurrent(AT_ONCE, |(number, planned)| {
                let injector = Arc::clone(&self);
                async move {
                    let Planned { after, fault } = planned;
                    injector.pace.until_taken(after).await;
                    injector.pace.begins(number);
                    let begun = Instant::now();
                    // On a thread of its own: some of this blocks.
                    let (injecting, runtime) = (Arc::clone(&injector), Handle::current());
                    tokio::task::spawn_blocking(move || runtime.block_on(injecting.inject(fault)))
                        .await?
                        .with_context(|| format!("fault {number}: {fault}"))?;
                    injector.watch.fault_is_over(fault.kind(), begun.elapsed());
                    anyhow::Ok(())
                }
            })
            .await
    }

    async fn inject(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Kill { program } => self.kill(program).await,
            Fault::Freeze { program, ms } => {
                let _hand = self.keeper.hold(&self.ground, program).await?;
                let program = self.ground.program(program);
                program.freeze()?;
                pause(ms).await;
                program.wake()
            }
            Fault::CrashDatabase { down_ms, hard } => {
                let _hand = hold(&self.hands.database).await;
                self.server(move |ground| {
                    let postgres = ground.stack.postgres();
                    if hard {
                        postgres.kill()
                    } else {
                        postgres.stop_immediately()
                    }
                })
                .await?;
                pause(down_ms).await;
                self.server(|ground| ground.stack.postgres().start()).await
            }
            Fault::FreezeDatabase { ms } => {
                let _hand = hold(&self.hands.database).await;
                self.ground.stack.postgres().pause();
                pause(ms).await;
                self.ground.stack.postgres().resume();
                Ok(())
            }
            Fault::CrashBroker { down_ms } => {
                let _hand = hold(&self.hands.broker).await;
                self.server(|ground| ground.stack.kafka().kill()).await?;
                pause(down_ms).await;
                self.server(|ground| ground.stack.kafka().start()).await
            }
            Fault::FreezeBroker { ms } => {
                let _hand = hold(&self.hands.broker).await;
                self.ground.stack.kafka().pause();
                pause(ms).await;
                self.ground.stack.kafka().resume();
                Ok(())
            }
            Fault::Reset { line } => {
                self.ground.proxy(line).reset();
                Ok(())
            }
            Fault::BlackHole { line, ms } => self.weather(&[line], Weather::Dead, ms).await,
            Fault::Delay { line, by_ms, ms } => {
                let late = Weather::Late(Duration::from_millis(by_ms));
                self.weather(&[line], late, ms).await
            }
            Fault::Slow {
                line,
                bytes_per_second,
                ms,
            } => self.weather(&[line], Weather::Slow(bytes_per_second), ms).await,
            Fault::Partition { party, ms } => {
                let lines = self.ground.lines_of(party);
                self.weather(&lines, Weather::Dead, ms).await
            }
            Fault::Clock { program, by_s, ms } => {
                let _hand = hold(&self.hands.clocks[program]).await;
                self.ground.clocks.jump(program, by_s)?;
                pause(ms).await;
                self.ground.clocks.jump(program, 0)
            }
            Fault::Provider { how, calls } => self.provider(how, calls).await,
            Fault::Webhooks { ms } => {
                let _hand = hold(&self.hands.provider).await;
                self.hold_webhooks(true).await?;
                pause(ms).await;
                self.hold_webhooks(false).await
            }
            Fault::Poison { mended } => self.poison.strike(&self.ground, mended).await,
            Fault::Rebalance { program, ms, killed } => self.rebalance(program, ms, killed).await,
        }
    }

    async fn kill(&self, program: &str) -> Result<()> {
        let _hand = self.keeper.hold(&self.ground, program).await?;
        self.ground.program(program).kill()?;
        self.keeper.was_killed();
        Ok(())
    }

    /// A server's own verbs block.
    async fn server(
        &self,
        work: impl FnOnce(&Ground) -> Result<(), StackError> + Send + 'static,
    ) -> Result<()> {
        let ground = Arc::clone(&self.ground);
        Ok(tokio::task::spawn_blocking(move || work(&ground)).await??)
    }

    /// The same weather on some lines, given in the order of [`LINES`]' names so that nobody waits for the other.
    async fn weather(&self, lines: &[Line], weather: Weather, ms: u64) -> Result<()> {
        let mut held = Vec::new();
        for line in lines {
            held.push(hold(&self.hands.lines[line]).await);
            self.ground.proxy(*line).be(weather);
        }
        pause(ms).await;
        for line in lines {
            self.ground.proxy(*line).be(Weather::Fair);
        }
        Ok(())
    }

    async fn provider(&self, how: Misbehaviour, calls: u32) -> Result<()> {
        let _hand = hold(&self.hands.provider).await;
        let fault = match how {
            Misbehaviour::Refuses(status) => json!({ "fault": "refuse", "status": status, "calls": calls }),
            Misbehaviour::LosesAnswers => json!({ "fault": "lose_answer", "calls": calls }),
            Misbehaviour::TakesItsTime => {
                json!({ "fault": "delay", "delay_ms": TOO_LATE_MS, "calls": calls })
            }
        };
        until("the provider to misbehave", async || {
            self.provider.misbehave(fault.clone()).await
        })
        .await?;
        tokio::time::sleep(MOOD).await;
        until("the provider to behave", async || self.provider.behave().await).await
    }

    async fn hold_webhooks(&self, held: bool) -> Result<()> {
        until("the provider's reports", async || {
            self.provider.hold_webhooks(held).await
        })
        .await
    }

    async fn rebalance(&self, program: &'static str, ms: u64, killed: bool) -> Result<()> {
        let second = self.ground.system.another(program, &format!("{program}-guest"))?;
        second.start()?;
        // Whether it gets that far depends on what else is going on.
        drop(tokio::time::timeout(READY, second.ready()).await);
        pause(ms).await;
        if killed {
            second.kill()
        } else {
            second.stop().await
        }
    }
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
