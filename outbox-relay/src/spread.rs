//! How outboxes are spread over the processes that serve them.
//!
//! Each outbox has its own database, and nobody sees them all. So the rule is a local one: a process that holds the lease
//! of an outbox gives way to one that stands by there and holds at least two fewer. Differences shrink with each lease
//! that is given, and one of less than two stays, so that nothing goes back and forth.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::kafka::directory::Directories;
use crate::turns::{Turn, Turns};

/// A process of relays that shares its outboxes with other processes like it, and among its outboxes what it may look, read
/// and have on its way. See [`Relay::of`](crate::Relay::of).
#[derive(Debug, Clone)]
pub struct Instance(Arc<State>);

#[derive(Debug)]
struct State {
    id: Uuid,
    held: AtomicUsize,
    /// Of those, the ones that have a window to read and send just now.
    publishing: AtomicUsize,
    turns: Arc<Turns>,
    looks: Arc<Turns>,
    directories: Arc<Directories>,
    round: Mutex<Option<Round>>,
}

/// What others say of themselves is a round old, so more than half of the difference must not be given in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Round {
    began: Instant,
    held: usize,
    given: usize,
}

/// So many outboxes look at their topics at the same time: each takes a client of its own, with threads and buffers.
const LOOKS: usize = 16;

/// A lease that an instance holds, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Holding(Instance);

/// An outbox has a window to read and send, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Publishing(Instance);

impl Instance {
    /// One that holds nothing yet. It is told from others by a random id.
    pub fn new() -> Self {
        Self(Arc::new(State {
            id: Uuid::new_v4(),
            held: AtomicUsize::new(0),
            publishing: AtomicUsize::new(0),
            turns: Arc::new(Turns::new()),
            looks: Arc::new(Turns::of(LOOKS)),
            directories: Arc::default(),
            round: Mutex::new(None),
        }))
    }

    /// How many outboxes its relays publish.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    pub(crate) fn id(&self) -> Uuid {
        self.0.id
    }

    pub(crate) fn holds_one_more(&self) -> Holding {
        self.0.held.fetch_add(1, Ordering::Relaxed);
        Holding(self.clone())
    }

    /// One more outbox has something to publish.
    pub(crate) fn publishes_one_more(&self) -> Publishing {
        self.0.publishing.fetch_add(1, Ordering::Relaxed);
        Publishing(self.clone())
    }

    /// Waits for a turn to publish much.
    pub(crate) async fn turn(&self) -> Turn {
        self.0.turns.take().await
    }

    /// Waits for a turn to look at what topics end with.
    pub(crate) async fn turn_to_look(&self) -> Turn {
        self.0.looks.take().await
    }

    /// What its outboxes ask brokers about topics with.
    pub(crate) fn directories(&self) -> Arc<Directories> {
        self.0.directories.clone()
    }

    /// What each of those that have something to publish may take of `all` without a turn, so that the process does not need more
    /// memory for a hundred of them; `least` at least.
    pub(crate) fn share(&self, all: u32, least: u32) -> u32 {
        let publishing = self.0.publishing.load(Ordering::Relaxed).max(1);
        let share = all / u32::try_from(publishing).unwrap_or(u32::MAX);
        share.max(least.min(all))
    }

    /// Whether to give a lease to a process that stands by and holds `others`. What it says of itself is at most a
    /// `round` old.
    pub(crate) fn gives_way(&self, others: usize, now: Instant, round: Duration) -> bool {
        let mut known = self.0.round.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, gives) = decide(*known, self.held(), others, now, round);
        *known = Some(next);
        gives
    }
}

impl Default for Instance {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.0.publishing.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

fn decide(known: Option<Round>, held: usize, others: usize, now: Instant, round: Duration) -> (Round, bool) {
    let mut current = known
        .filter(|known| now.duration_since(known.began) < round)
        .unwrap_or(Round {
            began: now,
            held,
            given: 0,
        });
    let gives = current.given < current.held.saturating_sub(others) / 2;
    current.given += usize::from(gives);
    (current, gives)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: Duration = Duration::from_secs(10);

    /// Rounds until nothing moves any more, and where that ends. What is given goes to whoever holds the fewest.
    fn settle(mut held: Vec<usize>) -> (usize, Vec<usize>) {
        let start = Instant::now();
        let mut known = vec![None; held.len()];
        for round in 0..50 {
            let said = held.clone();
            let before = held.clone();
            for me in 0..held.len() {
                // Each lease has a keeper of its own, which asks once per round.
                for _ in 0..said[me] {
                    let fewest = (0..said.len())
                        .filter(|other| *other != me)
                        .map(|other| said[other])
                        .min();
                    let now = start + ROUND * round;
                    let (next, gives) = decide(known[me], held[me], fewest.unwrap(), now, ROUND);
                    known[me] = Some(next);
                    if gives {
                        held[me] -= 1;
                        let others = (0..held.len()).filter(|other| *other != me);
                        let next = others.min_by_key(|other| held[*other]).unwrap();
                        held[next] += 1;
                    }
                }
            }
            if held == before {
                return (usize::try_from(round).unwrap(), held);
            }
        }
        panic!("it goes back and forth: {held:?}");
    }

    #[test]
    fn outboxes_end_up_evenly_and_stay_there() {
        for (begin, processes) in [
            (1, 2),
            (2, 2),
            (3, 2),
            (4, 2),
            (100, 2),
            (9, 3),
            (10, 3),
            (100, 7),
        ] {
            let mut held = vec![0; processes];
            held[0] = begin;
            let (rounds, held) = settle(held);
            let (most, least) = (held.iter().max().unwrap(), held.iter().min().unwrap());
            assert!(most - least <= 1, "{begin} over {processes}: {held:?}");
            assert_eq!(held.iter().sum::<usize>(), begin);
            assert!(rounds <= 12, "{begin} over {processes} took {rounds} rounds");
        }
    }

    #[test]
    fn one_outbox_is_not_passed_around() {
        let now = Instant::now();
        assert!(!decide(None, 1, 0, now, ROUND).1);
        assert!(!decide(None, 3, 2, now, ROUND).1);
        assert!(decide(None, 3, 1, now, ROUND).1);
    }

    #[test]
    fn no_more_than_half_the_difference_moves_in_a_round() {
        let now = Instant::now();
        let (mut known, mut given) = (None, 0);
        for held in (0..=8).rev() {
            let (next, gives) = decide(known, held, 0, now, ROUND);
            known = Some(next);
            given += usize::from(gives);
        }
        assert_eq!(given, 4);
    }

    #[test]
    fn what_a_process_has_is_shared_by_those_that_publish() {
        let instance = Instance::new();
        assert_eq!(instance.share(12_000, 400), 12_000);
        let mut publishing: Vec<_> = (0..3).map(|_| instance.publishes_one_more()).collect();
        assert_eq!(instance.share(12_000, 400), 4_000);
        publishing.extend((3..100).map(|_| instance.publishes_one_more()));
        assert_eq!(instance.share(12_000, 400), 400);
        assert_eq!(instance.share(5, 400), 5);
        publishing.truncate(2);
        assert_eq!(instance.share(12_000, 400), 6_000);
    }

    #[test]
    fn what_is_held_is_counted() {
        let instance = Instance::new();
        let one = instance.holds_one_more();
        let two = instance.clone().holds_one_more();
        assert_eq!(instance.held(), 2);
        drop((one, two));
        assert_eq!(instance.held(), 0);
    }
}
