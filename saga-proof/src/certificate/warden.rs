use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::{Mutex, MutexGuard};

use crate::stage::Program;
use crate::stage::wait::until;

/// Starts again whatever has ended, as any platform does.
#[derive(Debug)]
pub(crate) struct Warden<'s> {
    programs: BTreeMap<String, &'s Program>,
    lives: BTreeMap<String, AtomicU64>,
    /// One at a time ends a program on purpose.
    turns: BTreeMap<String, Mutex<()>>,
}

impl<'s> Warden<'s> {
    pub(crate) fn new(programs: &[&'s Program]) -> Self {
        let names = || programs.iter().map(|program| program.name.clone());
        Self {
            programs: names().zip(programs.iter().copied()).collect(),
            lives: names().map(|name| (name, AtomicU64::new(0))).collect(),
            turns: names().map(|name| (name, Mutex::new(()))).collect(),
        }
    }

    /// Does it until it is dropped.
    pub(crate) async fn watch(&self) -> Result<()> {
        loop {
            for program in self.programs.values() {
                if !program.is_running() {
                    program
                        .start()
                        .with_context(|| format!("start {} again", program.name))?;
                    self.lives[program.name.as_str()].fetch_add(1, Ordering::Relaxed);
                }
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }

    /// The right to end a program.
    pub(crate) async fn turn(&self, program: &str) -> MutexGuard<'_, ()> {
        self.turns[program].lock().await
    }

    /// How often a program was started again.
    pub(crate) fn lives(&self, program: &str) -> u64 {
        self.lives[program].load(Ordering::Relaxed)
    }

    /// Waits until a program that has ended since is at work again.
    pub(crate) async fn back(&self, program: &str, since: u64) -> Result<()> {
        until(&format!("{program} to be started again"), async || {
            ensure!(self.lives(program) > since, "it has not ended");
            Ok(())
        })
        .await?;
        until(&format!("{program} to be ready again"), async || {
            self.programs[program].ready().await
        })
        .await
    }

    /// Starts whatever does not run, and waits until all are ready.
    pub(crate) async fn restore(&self) -> Result<()> {
        for program in self.programs.values().filter(|program| !program.is_running()) {
            program.start()?;
        }
        for program in self.programs.values() {
            program.ready().await?;
        }
        Ok(())
    }

    /// Asks a program to end. One that is not there has done so already: another case has crashed it.
    pub(crate) fn stop(&self, program: &str) -> Result<()> {
        let Some(pid) = self.programs[program].pid() else {
            return Ok(());
        };
        let pid = Pid::from_raw(i32::try_from(pid)?).context("a process id")?;
        match kill_process(pid, Signal::TERM) {
            Err(Errno::SRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
