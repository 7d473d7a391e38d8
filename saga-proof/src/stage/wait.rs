use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Long enough for the slowest machine that somebody may run this on. A test that works never waits so long.
pub const PATIENCE: Duration = Duration::from_secs(120);

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Asks again and again until the answer is yes.
///
/// `look` says `Ok(value)`, or why not yet.
///
/// # Errors
/// What was said last, once [`PATIENCE`] is over.
pub async fn until<T, E: Display>(what: &str, look: impl AsyncFnMut() -> Result<T, E>) -> Result<T> {
    until_within(PATIENCE, what, look).await
}

/// The same with another bound.
///
/// # Errors
/// What was said last.
pub async fn until_within<T, E: Display>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match look().await {
            Ok(value) => return Ok(value),
            Err(why) if begun.elapsed() > limit => {
                bail!("waited {} s for {what}: {why:#}", limit.as_secs())
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
