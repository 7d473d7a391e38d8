//! Whether the end can be reached from everywhere.
//!
//! A loop that never comes to rest breaks no claim about states at rest, and no claim about a single state. So every step
//! is noted, and the way back is walked from the ends.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// Locks that threads seldom meet at.
const SHARDS: usize = 16;

/// The steps between states, by their digests.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    steps: Vec<(u64, u64)>,
    ends: HashSet<u64>,
}

impl Ways {
    pub(crate) fn step(&self, from: u64, to: u64) {
        self.shard(from).steps.push((from, to));
    }

    pub(crate) fn end(&self, at: u64) {
        self.shard(at).ends.insert(at);
    }

    /// The shortest way from the beginning to a state from which no end can be reached, as the digests on it.
    pub(crate) fn astray(&self, beginning: u64) -> Option<Vec<u64>> {
        let mut steps: Vec<(u64, u64)> = Vec::new();
        let mut ends: Vec<u64> = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            steps.extend(&shard.steps);
            ends.extend(&shard.ends);
        }
        // By where they lead to, to be walked backwards.
        steps.sort_unstable_by_key(|(_, to)| *to);
        let mut reaching: HashSet<u64> = ends.iter().copied().collect();
        while let Some(state) = ends.pop() {
            let first = steps.partition_point(|(_, to)| *to < state);
            let into = steps[first..].iter().take_while(|(_, to)| *to == state);
            ends.extend(into.map(|(from, _)| *from).filter(|from| reaching.insert(*from)));
        }
        let is_lost = |state: u64| !reaching.contains(&state);
        if steps.iter().all(|(from, to)| !is_lost(*from) && !is_lost(*to)) && !is_lost(beginning) {
            return None;
        }
        Some(shortest(steps, beginning, is_lost))
    }

    fn shard(&self, state: u64) -> std::sync::MutexGuard<'_, Shard> {
        let shard = usize::try_from(state % SHARDS as u64).unwrap_or_default();
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shortest(mut steps: Vec<(u64, u64)>, beginning: u64, is_it: impl Fn(u64) -> bool) -> Vec<u64> {
    steps.sort_unstable();
    let mut came: HashMap<u64, u64> = HashMap::new();
    let mut waiting = std::collections::VecDeque::from([beginning]);
    while let Some(state) = waiting.pop_front() {
        if is_it(state) {
            let mut way = vec![state];
            let mut at = state;
            while let Some(before) = came.get(&at).filter(|_| at != beginning) {
                way.push(*before);
                at = *before;
            }
            way.reverse();
            return way;
        }
        let first = steps.partition_point(|(from, _)| *from < state);
        for (_, to) in steps[first..].iter().take_while(|(from, _)| *from == state) {
            if *to != beginning && !came.contains_key(to) {
                came.insert(*to, state);
                waiting.push_back(*to);
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_without_a_way_out_is_found_by_the_shortest_way() {
        let ways = Ways::default();
        for (from, to) in [(1, 2), (2, 3), (2, 4), (4, 5), (5, 4), (1, 6), (6, 5)] {
            ways.step(from, to);
        }
        ways.end(3);
        let way = ways.astray(1).expect("4, 5 and 6 lead to no end");
        assert_eq!(way, [1, 6]);
        ways.step(5, 3);
        assert_eq!(ways.astray(1), None);
    }
}
