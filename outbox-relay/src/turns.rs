//! Whose turn it is to read and send much, among the outboxes of a process.
//!
//! After an outage of the broker a hundred outboxes have a backlog at the same time. If all of them went on at once, each would get so
//! little of the process's memory that it read and sent in pieces too small to be cheap. So a few have a turn, and the others wait. Who
//! has little to publish needs none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// After which a turn is over if somebody else waits for one.
const LONG_ENOUGH: Duration = Duration::from_millis(100);
/// Within which one that is wanted is left. If it is not, somebody else gets it anyway: a database that does not answer, or a
/// partition without a leader, is not to hold up the other outboxes.
const STUCK: Duration = Duration::from_millis(250);
/// So many have a turn at least. While one waits for its database, another one waits for the broker.
const FEWEST: usize = 4;
/// And at most: with more of them each would have too little to be cheap again.
const MOST: usize = 16;

/// The turns of a process.
#[derive(Debug)]
pub(crate) struct Turns {
    free: Arc<Semaphore>,
    all: usize,
    stuck: Duration,
    /// With those that are stuck.
    taken: AtomicUsize,
    waiting: AtomicUsize,
}

/// A turn, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    began: Instant,
    /// Gives it to somebody else when this is dropped, or stuck.
    keeps: AbortHandle,
}

impl Turns {
    /// One for each processor, within these bounds.
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::of(processors.clamp(FEWEST, MOST))
    }

    /// So many.
    pub(crate) fn of(all: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(all)),
            all,
            stuck: STUCK,
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits for a turn. Who came first gets it first; nobody waits for one that is stuck.
    pub(crate) async fn take(self: &Arc<Self>) -> Turn {
        let waiting = Waiting::of(self);
        let permit = self.free.clone().acquire_owned().await.ok();
        drop(waiting);
        self.taken.fetch_add(1, Ordering::Relaxed);
        let keeps = tokio::spawn(self.clone().while_it_goes_on(permit));
        Turn {
            turns: self.clone(),
            began: Instant::now(),
            keeps: keeps.abort_handle(),
        }
    }

    /// Keeps a turn until it was wanted for too long.
    async fn while_it_goes_on(self: Arc<Self>, permit: Option<OwnedSemaphorePermit>) {
        let mut wanted = false;
        loop {
            tokio::time::sleep(self.stuck).await;
            let still = self.is_wanted();
            if wanted && still {
                break;
            }
            wanted = still;
        }
        drop(permit);
    }

    fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl Turn {
    /// Whether somebody waits for one.
    pub(crate) fn is_wanted(&self) -> bool {
        self.turns.is_wanted()
    }

    /// Whether it has lasted for long enough, and somebody waits; or has one by now.
    pub(crate) fn is_over(&self) -> bool {
        self.is_stuck() || (self.began.elapsed() >= LONG_ENOUGH && self.is_wanted())
    }

    /// Whether it lasted so long that somebody else was given it.
    pub(crate) fn is_stuck(&self) -> bool {
        self.keeps.is_finished()
    }

    /// What each of those that have a turn may take of `all`; `least` at least, and no more than that as long as some are stuck:
    /// these have taken theirs.
    pub(crate) fn share(&self, all: u32, least: u32) -> u32 {
        let taken = self.turns.taken.load(Ordering::Relaxed).max(1);
        let share = match u32::try_from(taken) {
            Ok(few) if taken <= self.turns.all => all / few,
            _ => 0,
        };
        share.max(least.min(all))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.taken.fetch_sub(1, Ordering::Relaxed);
        self.keeps.abort();
    }
}

/// Somebody who waits, also one that is told to stop meanwhile.
struct Waiting<'t>(&'t Turns);

impl<'t> Waiting<'t> {
    fn of(turns: &'t Turns) -> Self {
        turns.waiting.fetch_add(1, Ordering::Relaxed);
        Self(turns)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_few_have_a_turn_and_share_what_there_is() {
        let turns = Arc::new(Turns::of(4));
        let first = turns.take().await;
        assert_eq!(first.share(16_000, 400), 16_000);
        let second = turns.take().await;
        assert_eq!(first.share(16_000, 400), 8_000);
        assert_eq!(first.share(600, 400), 400);
        assert_eq!(first.share(5, 400), 5);
        let _others = (turns.take().await, turns.take().await);
        let mut waits = Box::pin(turns.take());
        assert!(waits.as_mut().now_or_never().is_none());
        drop(second);
        let _fifth = waits.await;
        assert_eq!(first.share(16_000, 400), 4_000);
    }

    #[tokio::test]
    async fn a_turn_is_over_after_a_while_if_somebody_waits() {
        let turns = Arc::new(Turns::of(1));
        let mut turn = turns.take().await;
        let mut waits = Box::pin(turns.take());
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(!turn.is_over(), "it has only begun");
        turn.began -= LONG_ENOUGH;
        assert!(turn.is_over());
        drop(waits);
        assert!(!turn.is_over() && !turn.is_wanted(), "nobody waits any more");
    }

    fn impatient(all: usize) -> Arc<Turns> {
        Arc::new(Turns {
            stuck: Duration::from_millis(10),
            ..Turns::of(all)
        })
    }

    #[tokio::test]
    async fn who_is_stuck_holds_nobody_up_and_has_its_share() {
        let turns = impatient(2);
        let stuck = [turns.take().await, turns.take().await];
        let third = turns.take().await;
        assert_eq!(third.share(16_000, 400), 400);
        assert!(stuck.iter().any(Turn::is_stuck), "one of them has lost its turn");
        assert!(stuck.iter().any(Turn::is_over), "and has to take another one");
        drop(stuck);
        assert_eq!(third.share(16_000, 400), 16_000);
    }

    #[tokio::test]
    async fn a_turn_that_nobody_wants_lasts() {
        let turns = impatient(1);
        let turn = turns.take().await;
        tokio::time::sleep(10 * turns.stuck).await;
        assert!(!turn.is_stuck() && !turn.is_over());
        assert!(turns.take().now_or_never().is_none(), "there is no other one");
    }
}
