use std::time::Duration;

/// Puts what the kernel knows of this process into gauges, under the names that Prometheus' client
/// libraries use. Called when somebody asks. Elsewhere than on Linux it does nothing.
#[expect(clippy::float_arithmetic, reason = "a gauge of bytes, not money")]
pub(super) fn record() {
    if let Ok(status) = std::fs::read_to_string("/proc/self/status")
        && let Some(resident_kb) = field(&status, "VmRSS:").and_then(|kb| u32::try_from(kb).ok())
    {
        // f64 holds every u32, and a process with more than 4 TB is none of ours.
        metrics::gauge!("process_resident_memory_bytes").set(f64::from(resident_kb) * KB);
    }
    if let Ok(stat) = std::fs::read_to_string("/proc/self/stat")
        && let Some(cpu) = cpu_time(&stat)
    {
        metrics::gauge!("process_cpu_seconds_total").set(cpu.as_secs_f64());
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        metrics::gauge!("process_open_fds").set(f64::from(u32::try_from(open.count()).unwrap_or(u32::MAX)));
    }
}

const KB: f64 = 1024.0;

fn field(status: &str, name: &str) -> Option<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// User and system time, fields 14 and 15. The name in field 2 may hold spaces and parentheses.
fn cpu_time(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    // USER_HZ has been 100 on every architecture since Linux 2.6.
    Some(Duration::from_millis((user + system) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc() {
        let stat = "4242 (a (odd) name) S 1 1 1 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 8 0 1 2 3";
        assert_eq!(cpu_time(stat), Some(Duration::from_secs(2)));
        assert_eq!(field("Name:\tx\nVmRSS:\t   2048 kB\n", "VmRSS:"), Some(2048));
    }
}
