use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) resident_kb: u64,
    pub(crate) processor: Duration,
}

/// Memory and processor time of a process.
pub(crate) fn of(pid: u32) -> Result<Usage> {
    Ok(Usage {
        resident_kb: resident_kb(pid)?,
        processor: times(pid)?.own,
    })
}

/// The same of a server that forks: with its children, those that are there and those that have ended.
pub(crate) fn of_family(pid: u32) -> Result<Usage> {
    let mut usage = of(pid)?;
    usage.processor += times(pid)?.ended;
    for child in children(pid) {
        // A child may end while we look.
        if let (Ok(times), Ok(resident_kb)) = (times(child), resident_kb(child)) {
            usage.processor += times.own + times.ended;
            usage.resident_kb += resident_kb;
        }
    }
    Ok(usage)
}

/// Processor time of the threads of a process whose names begin so, of those that are there.
pub(crate) fn of_threads(pid: u32, names: &[&str]) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for thread in threads(pid)? {
        let folder = format!("{pid}/task/{thread}");
        // A thread may end while we look.
        let Ok(name) = std::fs::read_to_string(format!("/proc/{folder}/comm")) else {
            continue;
        };
        if names.iter().any(|wanted| name.starts_with(wanted)) {
            sum += times_of(&folder).map_or(Duration::ZERO, |times| times.own);
        }
    }
    Ok(sum)
}

/// The threads of a process; none if it has ended, as a server's helpers do now and then.
pub(crate) fn threads(pid: u32) -> Result<Vec<u32>> {
    let tasks = match std::fs::read_dir(format!("/proc/{pid}/task")) {
        Ok(tasks) => tasks,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot list the threads of process {pid}")),
    };
    let ids = tasks.filter_map(Result::ok);
    ids.map(|task| Ok(task.file_name().to_string_lossy().parse()?))
        .collect()
}

/// A server that forks, and its children that are there.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut family = children(pid);
    family.push(pid);
    family
}

/// The most memory that a process ever had.
pub(crate) fn peak_kb(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("no such process")?;
    field(&status, "VmHWM:").context("a process has had memory")
}

/// Processor time of each child that is there.
pub(crate) fn of_children(pid: u32) -> BTreeMap<u32, Duration> {
    children(pid)
        .into_iter()
        .filter_map(|child| Some((child, times(child).ok()?.own)))
        .collect()
}

/// Processor time of the whole machine so far, of everybody.
pub(crate) fn of_machine() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat").context("no /proc/stat")?;
    let fields = stat.lines().next().unwrap_or_default().split_whitespace();
    // user, nice, system, then idle and iowait, then irq and softirq.
    let ticks = fields
        .skip(1)
        .take(7)
        .enumerate()
        .filter(|(i, _)| !matches!(i, 3 | 4))
        .filter_map(|(_, field)| field.parse::<u64>().ok());
    Ok(of_ticks(ticks.sum()))
}

struct Times {
    own: Duration,
    /// Of children that it has waited for.
    ended: Duration,
}

fn times(pid: u32) -> Result<Times> {
    times_of(&pid.to_string())
}

/// Of a process or a thread, by its folder below `/proc`.
fn times_of(folder: &str) -> Result<Times> {
    let stat = std::fs::read_to_string(format!("/proc/{folder}/stat")).context("no such process")?;
    // The name stands in brackets and may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
    let ticks: Vec<u64> = fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .filter_map(|field| field.parse().ok())
        .collect();
    let [user, system, user_of_ended, system_of_ended] = ticks[..] else {
        anyhow::bail!("process {folder} has no times");
    };
    Ok(Times {
        own: of_ticks(user + system),
        ended: of_ticks(user_of_ended + system_of_ended),
    })
}

/// USER_HZ is 100 on every Linux that we run on.
fn of_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
}

/// A page that several processes share counts for each of them in part, so that the sum over a server's processes is what
/// the server takes. Where that is not shown to us, a shared page counts for each in full.
fn resident_kb(pid: u32) -> Result<u64> {
    if let Ok(maps) = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        && let Some(proportional) = field(&maps, "Pss:")
    {
        return Ok(proportional);
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("no such process")?;
    Ok(field(&status, "VmRSS:").unwrap_or_default())
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn children(pid: u32) -> Vec<u32> {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}
