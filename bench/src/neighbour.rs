use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Somebody who takes processor time, and touches neither the disk nor the database: what is lost beside him is lost to the
/// lack of cores.
pub(crate) struct Neighbour {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Duration>>>,
}

/// One for each core, as programs with several threads have them.
const THREADS: u32 = 2;
/// For how long he rests when he has had his share.
const REST: Duration = Duration::from_millis(1);

impl Neighbour {
    /// Moves in, and takes so many cores.
    #[allow(clippy::float_arithmetic)]
    pub(crate) fn taking(cores: f64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..THREADS)
            .map(|_| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || burn(cores / f64::from(THREADS), &stop))
            })
            .collect();
        Self { stop, threads }
    }

    /// Moves out. Returns the processor time that he got.
    pub(crate) fn leave(self) -> Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Duration::ZERO;
        for thread in self.threads {
            sum += thread
                .join()
                .map_err(|_| anyhow::anyhow!("the neighbour panicked"))??;
        }
        Ok(sum)
    }
}

#[allow(clippy::float_arithmetic)]
fn burn(share: f64, stop: &AtomicBool) -> Result<Duration> {
    let (begun, before) = (Instant::now(), used_by_thread()?);
    let mut number = 1_u64;
    loop {
        let used = used_by_thread()?.saturating_sub(before);
        if stop.load(Ordering::Relaxed) {
            return Ok(used);
        }
        if used.as_secs_f64() >= begun.elapsed().as_secs_f64() * share {
            std::thread::sleep(REST);
            continue;
        }
        for _ in 0..100_000 {
            number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

fn used_by_thread() -> Result<Duration> {
    let stat =
        std::fs::read_to_string("/proc/thread-self/schedstat").context("no /proc/thread-self/schedstat")?;
    let nanos = stat
        .split_whitespace()
        .next()
        .and_then(|nanos| nanos.parse().ok());
    Ok(Duration::from_nanos(
        nanos.context("a thread has had processor time")?,
    ))
}
