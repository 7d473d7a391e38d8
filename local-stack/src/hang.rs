//! A test program that hangs says where it stands, and ends.
//!
//! The test harness knows no limit: one test that never ends takes the whole run with it, and leaves nothing to look
//! at. Where tests run unattended (`CI` is set), a program that runs for longer than any of ours is taken for hung.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::{Command, abort, id};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// Seconds after which a test program is taken for hung; also without `CI`.
const LIMIT_VARIABLE: &str = "QUADRILLE_TEST_LIMIT_SECONDS";

/// Several times what the longest of our test programs takes on two busy cores, without building anything.
const LIMIT: Duration = Duration::from_secs(45 * 60);

static BEGUN: Mutex<Option<Instant>> = Mutex::new(None);
/// Threads that have asked to be watched and have not ended, by the names that the harness gave them, with since when.
static TESTS: Mutex<BTreeMap<u64, (String, Instant)>> = Mutex::new(BTreeMap::new());

/// Begins to watch this process, once: what uses [`TestStack::shared`](crate::TestStack::shared) is watched already, and with
/// it the test that does.
pub(crate) fn watch() {
    static WATCHED: Once = Once::new();
    note_this_test();
    let asked = env::var(LIMIT_VARIABLE)
        .ok()
        .and_then(|text| text.parse().ok())
        .map(Duration::from_secs);
    let Some(limit) = asked.or_else(|| env::var_os("CI").map(|_| LIMIT)) else {
        return;
    };
    WATCHED.call_once(|| {
        begin_anew();
        thread::spawn(move || {
            while let Some(left) = left_of(limit) {
                thread::sleep(left);
            }
            // Whatever could not be told: it ends.
            tell(limit).ok();
            abort();
        });
    });
}

/// From here on counts for how long a test program runs. Whoever builds programs first says so afterwards: that takes as long as
/// it takes, and is seen.
pub fn begin_anew() {
    *lock(&BEGUN) = Some(Instant::now());
}

fn left_of(limit: Duration) -> Option<Duration> {
    let begun = lock(&BEGUN).unwrap_or_else(Instant::now);
    limit.checked_sub(begun.elapsed()).filter(|left| !left.is_zero())
}

/// The harness runs each test on a thread of its own, which ends with it.
fn note_this_test() {
    struct Test(u64);
    impl Drop for Test {
        fn drop(&mut self) {
            lock(&TESTS).remove(&self.0);
        }
    }
    thread_local! {
        static TEST: Test = {
            static NEXT: AtomicU64 = AtomicU64::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = thread::current().name().unwrap_or("a thread without a name").to_owned();
            lock(&TESTS).insert(number, (name, Instant::now()));
            Test(number)
        };
    }
    TEST.with(|_| ());
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which tests are under way. Names of the threads, of which the system knows but the beginning. Stacks, where a debugger is
/// installed.
fn tell(limit: Duration) -> io::Result<()> {
    // Not by a macro: the harness keeps what those print until the test ends.
    let mut out = io::stderr().lock();
    writeln!(
        out,
        "this test program hangs: it has run for {} s; under way are",
        limit.as_secs()
    )?;
    // Whoever holds the lock may be what hangs.
    if let Ok(tests) = TESTS.try_lock() {
        for (name, since) in tests.values() {
            writeln!(out, "  {name}, for {} s", since.elapsed().as_secs())?;
        }
    }
    writeln!(out, "its threads:")?;
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        let read = |name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
        writeln!(out, "  {} waits in {}", read("comm").trim(), read("wchan").trim())?;
    }
    drop(out);
    // Not through a pipe of ours: while the debugger looks at us we read nothing.
    Command::new("gdb")
        .args([
            "-p",
            &id().to_string(),
            "-batch",
            "-ex",
            "thread apply all backtrace 30",
        ])
        .stdout(io::stderr())
        .status()?;
    Ok(())
}
