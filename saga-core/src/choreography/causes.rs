//! What leads to what: from a step over its outputs to the steps of others.

use std::collections::{BTreeMap, BTreeSet};

use super::observed::Observed;
use super::part::{Part, meets};
use crate::output::{OutputKind, OutputSpec};
use crate::steps::Step;

/// A step of a participant, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StepId {
    pub(super) part: usize,
    pub(super) step: usize,
}

/// An output of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Said {
    pub(super) part: usize,
    pub(super) output: &'static str,
}

/// The steps of all participants and what they lead to.
#[derive(Debug)]
pub(super) struct Causes<'c> {
    pub(super) parts: &'c [Part],
    puts: BTreeMap<StepId, Vec<Said>>,
    takers: BTreeMap<Said, Vec<StepId>>,
}

impl<'c> Causes<'c> {
    /// From what is declared. A timer leads to its firing only from where it was seen to be set: `steps!` names it
    /// where it is cancelled, too.
    pub(super) fn of(parts: &'c [Part], observed: &Observed) -> Self {
        let (mut puts, mut takers) = (BTreeMap::new(), BTreeMap::new());
        for (part, from) in parts.iter().enumerate() {
            let course = observed.parts.get(from.name);
            for (step, declared) in from.steps.iter().enumerate() {
                let is_put = |output: &&'static str| match from.output(output).map(|spec| spec.kind) {
                    Some(OutputKind::Timer) => course.is_some_and(|c| c.happens(declared.on, output)),
                    Some(OutputKind::Event { .. } | OutputKind::Effect { .. }) => true,
                    None => false,
                };
                let said = declared.emits.iter().copied().filter(|o| is_put(o));
                let said: Vec<_> = said.map(|output| Said { part, output }).collect();
                puts.insert(StepId { part, step }, said);
            }
            for spec in from.outputs {
                let output = spec.variant;
                takers.insert(Said { part, output }, taken(parts, from, spec));
            }
        }
        Self { parts, puts, takers }
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = StepId> {
        self.puts.keys().copied()
    }

    pub(super) fn step(&self, id: StepId) -> &'static Step {
        &self.parts[id.part].steps[id.step]
    }

    pub(super) fn part(&self, part: usize) -> &'c Part {
        &self.parts[part]
    }

    pub(super) fn spec(&self, said: Said) -> Option<&'static OutputSpec> {
        self.parts[said.part].output(said.output)
    }

    /// What a step puts out.
    pub(super) fn puts(&self, step: StepId) -> &[Said] {
        self.puts.get(&step).map_or(&[], Vec::as_slice)
    }

    /// The steps on which an output is taken.
    pub(super) fn takers(&self, said: Said) -> &[StepId] {
        self.takers.get(&said).map_or(&[], Vec::as_slice)
    }

    /// The steps that put this out.
    pub(super) fn speakers(&self, said: Said) -> impl Iterator<Item = StepId> {
        self.puts
            .iter()
            .filter(move |(_, puts)| puts.contains(&said))
            .map(|(step, _)| *step)
    }

    /// All that are put out by some step.
    pub(super) fn all_said(&self) -> BTreeSet<Said> {
        self.puts.values().flatten().copied().collect()
    }

    /// The steps that lead directly to this one, and by what.
    pub(super) fn before(&self, step: StepId) -> impl Iterator<Item = (StepId, Said)> {
        self.puts.iter().flat_map(move |(from, puts)| {
            puts.iter()
                .filter(move |said| self.takers(**said).contains(&step))
                .map(|said| (*from, *said))
        })
    }

    /// The given steps and all that they lead to.
    pub(super) fn reach(&self, from: impl IntoIterator<Item = StepId>) -> BTreeSet<StepId> {
        self.reach_by(from, |_, _| true)
    }

    /// The given steps and all that they lead to over outputs that `passes` lets through.
    pub(super) fn reach_by(
        &self,
        from: impl IntoIterator<Item = StepId>,
        passes: impl Fn(StepId, Said) -> bool,
    ) -> BTreeSet<StepId> {
        let mut waiting: Vec<StepId> = from.into_iter().collect();
        let mut seen: BTreeSet<StepId> = waiting.iter().copied().collect();
        while let Some(step) = waiting.pop() {
            for said in self.puts(step).iter().filter(|said| passes(step, **said)) {
                for next in self.takers(*said) {
                    if seen.insert(*next) {
                        waiting.push(*next);
                    }
                }
            }
        }
        seen
    }

    /// The given steps and all that lead to them.
    pub(super) fn behind(&self, from: impl IntoIterator<Item = StepId>) -> BTreeSet<StepId> {
        let mut waiting: Vec<StepId> = from.into_iter().collect();
        let mut seen: BTreeSet<StepId> = waiting.iter().copied().collect();
        while let Some(step) = waiting.pop() {
            for (before, _) in self.before(step) {
                if seen.insert(before) {
                    waiting.push(before);
                }
            }
        }
        seen
    }

    /// `payment on Charged`, for messages.
    pub(super) fn name(&self, step: StepId) -> String {
        format!("{} on {}", self.parts[step.part].name, self.step(step).on)
    }
}

fn taken(parts: &[Part], from: &Part, output: &OutputSpec) -> Vec<StepId> {
    let mut takers = Vec::new();
    for (part, to) in parts.iter().enumerate() {
        for (step, declared) in to.steps.iter().enumerate() {
            if to
                .input(declared.on)
                .is_some_and(|input| meets(from, output, to, input))
            {
                takers.push(StepId { part, step });
            }
        }
    }
    takers
}
