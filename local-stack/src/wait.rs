use std::time::{Duration, Instant};

use crate::StackError;

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// What a look at a condition found.
#[derive(Debug)]
pub(crate) enum Look {
    /// It is true.
    Ready,
    /// Not yet, and why.
    NotYet(String),
    /// It will never be.
    Never(StackError),
}

/// Looks again and again until the condition holds, at most for `limit`. After each five seconds a line on stderr
/// says what is being waited for and why.
pub(crate) fn until(what: &str, limit: Duration, mut look: impl FnMut() -> Look) -> Result<(), StackError> {
    let begin = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut next_progress = PROGRESS_EVERY;
    loop {
        let reason = match look() {
            Look::Ready => return Ok(()),
            Look::Never(error) => return Err(error),
            Look::NotYet(reason) => reason,
        };
        let elapsed = begin.elapsed();
        if elapsed >= limit {
            let what = what.to_owned();
            return Err(StackError::TimedOut {
                what,
                limit,
                last: reason,
                tail: String::new(),
            });
        }
        if elapsed >= next_progress {
            eprintln!(
                "  … {what}: {reason} ({} s of at most {} s)",
                elapsed.as_secs(),
                limit.as_secs()
            );
            next_progress += PROGRESS_EVERY;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
