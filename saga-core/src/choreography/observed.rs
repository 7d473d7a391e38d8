//! What participants did while they were watched.

use std::collections::{BTreeMap, BTreeSet};

/// What participants did while they were watched: which input led to which outputs, and from which state to which.
/// A [`Recorder`](super::Recorder) fills it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    pub(super) parts: BTreeMap<&'static str, Course>,
}

/// What one participant did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Course {
    /// The inputs that were decided, and whether they belong to a saga.
    pub(super) heard: BTreeMap<&'static str, bool>,
    /// The states that were seen, by their hash.
    pub(super) states: BTreeMap<u64, Place>,
    /// Each way from state to state.
    pub(super) moves: BTreeSet<Move>,
    /// Events that went out under another key than the saga's.
    pub(super) astray: BTreeSet<&'static str>,
}

/// A state of one saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// What people read of it: its beginning.
    pub(super) text: String,
    /// It needs no more attention.
    pub(super) ended: bool,
    /// Nothing was heard of the saga.
    pub(super) untouched: bool,
}

/// One decision that changed something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Move {
    pub(super) from: u64,
    pub(super) on: &'static str,
    /// The input was an outcome without a definite answer.
    pub(super) exhausted: bool,
    pub(super) puts: Vec<Put>,
    pub(super) to: u64,
}

/// Something that was put out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Put {
    pub(super) output: &'static str,
    /// A timer that was cancelled, not set.
    pub(super) cancels: bool,
}

impl Observed {
    /// What was seen: participant, input, output.
    pub fn edges(&self) -> BTreeSet<(&'static str, &'static str, &'static str)> {
        self.parts
            .iter()
            .flat_map(|(name, course)| course.edges().map(move |(on, put)| (*name, on, put.output)))
            .collect()
    }

    /// What was decided: participant, input.
    pub fn heard(&self) -> BTreeSet<(&'static str, &'static str)> {
        self.parts
            .iter()
            .flat_map(|(name, course)| course.heard.keys().map(move |on| (*name, *on)))
            .collect()
    }

    /// In how many states a participant was seen.
    pub fn states(&self, participant: &str) -> usize {
        self.parts
            .get(participant)
            .map_or(0, |course| course.states.len())
    }

    /// Takes in what was seen in another run.
    pub fn merge(&mut self, other: Observed) {
        for (name, course) in other.parts {
            let ours = self.parts.entry(name).or_default();
            for (on, of_a_saga) in course.heard {
                *ours.heard.entry(on).or_default() |= of_a_saga;
            }
            ours.states.extend(course.states);
            ours.moves.extend(course.moves);
            ours.astray.extend(course.astray);
        }
    }
}

impl Course {
    /// What was put out on which input.
    pub(super) fn edges(&self) -> impl Iterator<Item = (&'static str, Put)> {
        self.moves
            .iter()
            .flat_map(|step| step.puts.iter().map(|put| (step.on, *put)))
    }

    /// Whether this was put out on this input. A timer counts if it was set.
    pub(super) fn happens(&self, on: &str, output: &str) -> bool {
        self.edges()
            .any(|(seen, put)| seen == on && put.output == output && !put.cancels)
    }
}
