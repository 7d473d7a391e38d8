//! How long an idle relay waits before it looks again.

use std::time::Duration;

use crate::spread::Instance;

/// Short waits while the source was busy a moment ago, longer ones when it has been quiet.
///
/// What follows an event is often another one soon: the answer of the next service to it. A relay that has just fallen
/// asleep would add its longest wait to each step of a saga.
///
/// All relays of a process share what its looks may cost: a hundred that are awake at once would ask their servers twenty
/// thousand times a second. So the more of them there are, the longer each waits at most. One that is rung does not wait.
#[derive(Debug)]
pub(crate) struct Idle {
    shortest: Duration,
    longest: Duration,
    next: Duration,
    waited: Duration,
    instance: Option<Instance>,
}

/// The longest wait while the source is awake.
const BRISK: Duration = Duration::from_millis(5);
/// For how long a source is awake after its last window.
const AWAKE: Duration = Duration::from_secs(1);
/// After how long it is fast asleep: there may be a hundred of them, and each look costs its server something.
const QUIET: Duration = Duration::from_secs(10);
/// How much longer its longest wait is then.
const FAST_ASLEEP: u32 = 4;
/// How far apart the looks of a process are, on the average, when all of its relays wait as long as they may: 2,000 a second.
/// The longest wait of one that has nine others beside it is the same as if it were alone.
const APART: Duration = Duration::from_micros(500);

impl Idle {
    /// Waits between a shortest and a longest. `instance` is the process whose looks are counted together.
    pub(crate) fn new((shortest, longest): (Duration, Duration), instance: Option<Instance>) -> Self {
        Self {
            shortest,
            longest,
            next: shortest,
            waited: Duration::ZERO,
            instance,
        }
    }

    /// There was nothing: the time to wait.
    pub(crate) fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.waited += wait;
        let most = if self.waited < AWAKE {
            BRISK.min(self.longest)
        } else if self.waited < QUIET {
            self.longest
        } else {
            self.longest * FAST_ASLEEP
        };
        self.next = (wait * 2).min(most.max(self.share()));
        wait
    }

    /// What each relay of the process waits for if all of them do.
    fn share(&self) -> Duration {
        let held = self.instance.as_ref().map_or(1, Instance::held);
        APART * u32::try_from(held).unwrap_or(u32::MAX)
    }

    /// Whether a look should rather cost little than find something a tenth of a millisecond earlier: there are many, or
    /// nothing has come for a while.
    pub(crate) fn looks_cheaply(&self) -> bool {
        self.next > BRISK || self.waited >= QUIET
    }

    /// There was something, or somebody says that there is.
    pub(crate) fn wake(&mut self) {
        self.next = self.shortest;
        self.waited = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn waits_stay_short_for_a_second_and_then_grow_to_the_longest() {
        let mut idle = Idle::new((MS(1), MS(100)), None);
        let mut waited = Duration::ZERO;
        for expected in [1, 2, 4, 5, 5] {
            let wait = idle.wait();
            assert_eq!(wait, MS(expected));
            waited += wait;
        }
        while waited < AWAKE {
            let wait = idle.wait();
            assert_eq!(wait, BRISK);
            assert!(waited + wait >= AWAKE || !idle.looks_cheaply());
            waited += wait;
        }
        let asleep: Vec<_> = (0..6).map(|_| idle.wait()).collect();
        assert_eq!(asleep, [10, 20, 40, 80, 100, 100].map(MS));
        assert!(idle.looks_cheaply());
        while idle.waited < QUIET {
            assert_eq!(idle.wait(), MS(100));
        }
        let fast_asleep: Vec<_> = (0..3).map(|_| idle.wait()).collect();
        assert_eq!(fast_asleep, [200, 400, 400].map(MS));
        assert!(idle.looks_cheaply());
        idle.wake();
        assert!(!idle.looks_cheaply());
        assert_eq!(idle.wait(), MS(1));
    }

    #[test]
    fn a_longest_wait_that_is_shorter_holds_from_the_start() {
        let mut idle = Idle::new((MS(1), MS(2)), None);
        let waits: Vec<_> = (0..1000).map(|_| idle.wait()).collect();
        assert_eq!(waits.iter().max(), Some(&MS(2)));
        let asleep = (0..5_000).map(|_| idle.wait()).max();
        assert_eq!(asleep, Some(MS(2) * FAST_ASLEEP));
    }

    #[test]
    fn the_relays_of_a_process_share_what_looks_cost() {
        let instance = Instance::new();
        let looks_a_second = |idle: &mut Idle, waits: usize| {
            let waited: Duration = (0..waits).map(|_| idle.wait()).sum();
            u32::try_from(waits).expect("few") * 1000 / u32::try_from(waited.as_millis()).expect("short")
        };
        for (held, brisk) in [(1, 5), (10, 5), (100, 50), (1000, 500)] {
            let _held: Vec<_> = (0..held).map(|_| instance.holds_one_more()).collect();
            let mut idle = Idle::new((MS(1), MS(25)), Some(instance.clone()));
            // The first looks are as quick as ever: it may be the answer of the next service.
            assert_eq!([idle.wait(), idle.wait(), idle.wait()], [1, 2, 4].map(MS));
            let brisk_waits: Vec<_> = (0..10).map(|_| idle.wait()).collect();
            assert_eq!(brisk_waits.last(), Some(&MS(brisk)), "{held} outboxes");
            assert_eq!(idle.looks_cheaply(), held >= 100);
            while idle.waited < QUIET {
                idle.wait();
            }
            idle.wait();
            let all = looks_a_second(&mut idle, 20) * held;
            assert!(all <= 2_000, "{held} outboxes are asked {all} times a second");
        }
    }
}
