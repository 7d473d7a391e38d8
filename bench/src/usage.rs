use std::time::Duration;

use anyhow::{Context as _, Result};

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) resident_kb: u64,
    pub(crate) processor: Duration,
}

/// Memory and processor time of a process and, for a server that forks, of its children.
pub(crate) fn of(pid: u32) -> Result<Usage> {
    let mut usage = one(pid)?;
    for child in children(pid) {
        // A child may end while we look.
        if let Ok(more) = one(child) {
            usage.processor += more.processor;
            usage.resident_kb += more.resident_kb;
        }
    }
    Ok(usage)
}

fn one(pid: u32) -> Result<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("no such process")?;
    let resident_kb = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("no such process")?;
    // The name stands in brackets and may hold anything.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .context("a process has a name")?
        .1
        .split_whitespace()
        .collect();
    let ticks: u64 = fields
        .iter()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    // USER_HZ is 100 on every Linux that we run on.
    Ok(Usage {
        resident_kb,
        processor: Duration::from_millis(ticks * 10),
    })
}

fn children(pid: u32) -> Vec<u32> {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}
