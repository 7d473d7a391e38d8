use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::chaos::fault::VICTIMS;
use crate::chaos::ground::Ground;
use crate::wait::until;

/// Starts again whatever has ended, as any platform does.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// Who has a program in hand: the others leave it alone.
    hands: BTreeMap<&'static str, Arc<Mutex<()>>>,
    killed: AtomicU64,
    started: AtomicU64,
}

impl Keeper {
    pub(crate) fn new() -> Self {
        Self {
            hands: VICTIMS.iter().map(|name| (*name, Arc::default())).collect(),
            killed: AtomicU64::new(0),
            started: AtomicU64::new(0),
        }
    }

    /// Waits until a program runs and nobody else has it in hand.
    pub(crate) async fn hold(&self, ground: &Ground, program: &str) -> Result<OwnedMutexGuard<()>> {
        until(&format!("{program} to run"), async || {
            let hand = Arc::clone(&self.hands[program]).lock_owned().await;
            ensure!(ground.program(program).is_running(), "it does not");
            Ok(hand)
        })
        .await
    }

    /// A program was ended on purpose.
    pub(crate) fn was_killed(&self) {
        self.killed.fetch_add(1, Ordering::Relaxed);
    }

    /// How often a program ended by itself: none of them should, whatever happens around it.
    pub(crate) fn ended_by_themselves(&self) -> u64 {
        let started = self.started.load(Ordering::Relaxed);
        started.saturating_sub(self.killed.load(Ordering::Relaxed))
    }

    /// Keeps all programs running until it is dropped.
    pub(crate) async fn keep(&self, ground: &Ground) -> Result<()> {
        loop {
            for (name, hand) in &self.hands {
                let Ok(_held) = hand.try_lock() else {
                    continue;
                };
                let program = ground.program(name);
                if !program.is_running() {
                    program.start().with_context(|| format!("start {name} again"))?;
                    self.started.fetch_add(1, Ordering::Relaxed);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
