//! Joining a group again from which one was thrown out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So often within [`WITHIN`]; who is thrown out more often has a double.
const MOST: usize = 3;
const WITHIN: Duration = Duration::from_secs(300);

/// When this process was thrown out of its group.
///
/// A process that was out of breath for longer than its session is a new member when it comes back, and what it sent as
/// the old one arrives late: the broker takes the two for two processes of one name, and librdkafka ends the consumer for
/// good. Nothing is wrong then, and to join again is enough. Two processes that do have one name would do so for ever.
#[derive(Debug, Default)]
pub(crate) struct Rejoins(VecDeque<Instant>);

impl Rejoins {
    /// It happened again: whether to join once more.
    pub(crate) fn may(&mut self, now: Instant) -> bool {
        self.0.retain(|then| now.duration_since(*then) < WITHIN);
        if self.0.len() == MOST {
            return false;
        }
        self.0.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_is_given_way_to_and_an_accident_is_not() {
        let begun = Instant::now();
        let mut rejoins = Rejoins::default();
        for n in 0..3 {
            assert!(rejoins.may(begun + Duration::from_secs(n)));
        }
        assert!(!rejoins.may(begun + Duration::from_secs(4)));
        assert!(rejoins.may(begun + WITHIN), "the first is forgotten");
        assert!(!rejoins.may(begun + WITHIN));
        for n in 1..10 {
            assert!(rejoins.may(begun + 2 * n * WITHIN));
        }
    }
}
