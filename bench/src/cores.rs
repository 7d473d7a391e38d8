use anyhow::{Context as _, Result};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::usage;

/// The cores of the machine in two halves, as if they were two machines.
pub(crate) struct Halves {
    whole: CpuSet,
    first: CpuSet,
    second: CpuSet,
}

impl Halves {
    /// Of the cores that we may use. `None`: there is only one.
    pub(crate) fn of_ours() -> Result<Option<Self>> {
        let whole = sched_getaffinity(None)?;
        let ours: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| whole.is_set(*core)).collect();
        let half = ours.len() / 2;
        if half == 0 {
            return Ok(None);
        }
        let set = |cores: &[usize]| {
            let mut set = CpuSet::new();
            cores.iter().for_each(|core| set.set(*core));
            set
        };
        Ok(Some(Self {
            first: set(&ours[..half]),
            second: set(&ours[half..]),
            whole,
        }))
    }

    /// All threads of these processes run there from now on, and what they start.
    pub(crate) fn to_first(&self, processes: &[u32]) -> Result<()> {
        pin(processes, &self.first)
    }

    /// Likewise.
    pub(crate) fn to_second(&self, processes: &[u32]) -> Result<()> {
        pin(processes, &self.second)
    }

    /// They may run everywhere again.
    pub(crate) fn release(&self, processes: &[u32]) -> Result<()> {
        pin(processes, &self.whole)
    }
}

fn pin(processes: &[u32], cores: &CpuSet) -> Result<()> {
    for process in processes {
        for thread in usage::threads(*process)? {
            let id = i32::try_from(thread).ok().and_then(Pid::from_raw);
            match sched_setaffinity(Some(id.context("a thread has an id")?), cores) {
                // It has ended.
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot move thread {thread}")),
            }
        }
    }
    Ok(())
}
