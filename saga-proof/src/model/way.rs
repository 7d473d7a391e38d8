//! Whether the end can be reached from everywhere.
//!
//! A loop that never comes to rest breaks no claim about states at rest, and no claim about a single state. So every step
//! is noted, and the way back is walked from the ends.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stateright::{Model, Path};

use super::digest;

/// Locks that threads seldom meet at.
const SHARDS: usize = 16;

/// The steps between states, by their [digests](super::digest). A [`Model`](super::Model) keeps its own; who writes a `stateright` model by hand
/// notes each step in `next_state`, and asks when everything was looked at.
#[derive(Debug, Default)]
pub struct Ways {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    steps: Vec<(u64, u64)>,
    ends: HashSet<u64>,
}

impl Ways {
    /// A step leads from here to there. The same one may be noted twice.
    pub fn step(&self, from: u64, to: u64) {
        self.shard(from).steps.push((from, to));
    }

    /// Here it may stay.
    pub fn end(&self, at: u64) {
        self.shard(at).ends.insert(at);
    }

    /// The shortest way of this model, of which the steps are, from the beginning to a state from which no end can be reached.
    ///
    /// # Panics
    /// If the model does not take the steps that were noted: "none" would be the good news.
    pub fn path_astray<M>(&self, model: &M, beginning: &M::State) -> Option<Path<M::State, M::Action>>
    where
        M: Model,
        M::State: Clone + Hash + PartialEq,
        M::Action: PartialEq,
    {
        let mut at = beginning.clone();
        let mut taken = Vec::new();
        for next in self.astray(digest(beginning))?.iter().skip(1) {
            let mut steps = model.next_steps(&at).into_iter();
            let found = steps.find(|(_, state)| digest(state) == *next);
            let (action, state) = found.expect("a step that was taken can be taken again");
            taken.push(action);
            at = state;
        }
        let path = Path::from_actions(model, beginning.clone(), &taken);
        Some(path.expect("these steps were taken just now"))
    }

    /// The same as the digests on it.
    fn astray(&self, beginning: u64) -> Option<Vec<u64>> {
        let noted: usize = self.shards.iter().map(|shard| lock(shard).steps.len()).sum();
        // They are most of what a model needs of memory, so they get as much as they need and no more.
        let mut steps: Vec<(u64, u64)> = Vec::with_capacity(noted);
        let mut ends: Vec<u64> = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
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

    fn shard(&self, state: u64) -> MutexGuard<'_, Shard> {
        let shard = usize::try_from(state % SHARDS as u64).unwrap_or_default();
        lock(&self.shards[shard])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
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
