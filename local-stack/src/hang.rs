//! A test program that hangs says where it stands, and ends.
//!
//! The test harness knows no limit: one test that never ends takes the whole run with it, and leaves nothing to look
//! at. Where tests run unattended (`CI` is set), a program that runs for longer than any of ours is taken for hung.

use std::io::{self, Write as _};
use std::process::{Command, abort, id};
use std::sync::Once;
use std::time::Duration;
use std::{env, fs, thread};

/// Seconds after which a test program is taken for hung; also without `CI`.
const LIMIT_VARIABLE: &str = "QUADRILLE_TEST_LIMIT_SECONDS";

/// Three times what the longest of our test programs takes on two busy cores.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Begins to watch this process, once: what uses [`TestStack::shared`](crate::TestStack::shared) is watched already.
pub(crate) fn watch() {
    static WATCHED: Once = Once::new();
    let asked = env::var(LIMIT_VARIABLE)
        .ok()
        .and_then(|text| text.parse().ok())
        .map(Duration::from_secs);
    let Some(limit) = asked.or_else(|| env::var_os("CI").map(|_| LIMIT)) else {
        return;
    };
    WATCHED.call_once(|| {
        thread::spawn(move || {
            thread::sleep(limit);
            // Whatever could not be told: it ends.
            tell(limit).ok();
            abort();
        });
    });
}

/// Names of the threads: the harness names one after each test that runs. Stacks, where a debugger is installed.
fn tell(limit: Duration) -> io::Result<()> {
    // Not by a macro: the harness keeps what those print until the test ends.
    let mut out = io::stderr().lock();
    writeln!(
        out,
        "this test program hangs: it has run for {} s; its threads:",
        limit.as_secs()
    )?;
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
