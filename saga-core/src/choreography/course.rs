//! What follows from the ways that one participant was seen to take between its states.

use std::collections::{BTreeMap, BTreeSet};

use super::observed::{Course, Move};
use super::part::Part;
use crate::output::OutputKind;

/// The moves of a participant, by where they begin.
#[derive(Debug)]
pub(super) struct Ways<'c> {
    course: &'c Course,
    from: BTreeMap<u64, Vec<&'c Move>>,
}

/// A state that has not ended and in which no clock of the participant's own runs.
#[derive(Debug)]
pub(super) struct Idle<'c> {
    pub(super) text: &'c str,
    /// What the participant had heard by then.
    pub(super) heard: BTreeSet<&'static str>,
    /// What leads out of it.
    pub(super) ways_out: BTreeSet<&'static str>,
}

/// A state, and the clocks that run in it.
type Standing = (u64, BTreeSet<&'static str>, bool);

impl<'c> Ways<'c> {
    pub(super) fn of(course: &'c Course) -> Self {
        let mut from: BTreeMap<u64, Vec<&Move>> = BTreeMap::new();
        for step in &course.moves {
            from.entry(step.from).or_default().push(step);
        }
        Self { course, from }
    }

    /// What may be put out again and again: an output of a move that can be taken twice, because its end leads back to
    /// its beginning.
    pub(super) fn repeatable(&self) -> BTreeSet<(&'static str, &'static str)> {
        let mut reach: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        let mut found = BTreeSet::new();
        for step in &self.course.moves {
            let lasting = || step.puts.iter().filter(|put| !put.cancels);
            if lasting().all(|put| found.contains(&(step.on, put.output))) {
                continue;
            }
            let after = reach
                .entry(step.to)
                .or_insert_with(|| self.reach([step.to].into()));
            if after.contains(&step.from) {
                found.extend(lasting().map(|put| (step.on, put.output)));
            }
        }
        found
    }

    /// Whether `on` was seen to do something at some time after `output` was put out.
    pub(super) fn acts_after(&self, output: &str, on: &str) -> bool {
        let ends = self
            .course
            .moves
            .iter()
            .filter(|step| step.puts.iter().any(|put| put.output == output && !put.cancels))
            .map(|step| step.to)
            .collect();
        self.reach(ends)
            .iter()
            .any(|state| self.moves(*state).any(|step| step.on == on))
    }

    /// The states in which the participant depends on others.
    pub(super) fn idle(&self, part: &Part) -> Vec<Idle<'c>> {
        let mut idle = BTreeMap::new();
        for (state, timers, busy) in self.standings(part) {
            let Some(place) = self.course.states.get(&state) else {
                continue;
            };
            if place.ended || place.untouched || busy || !timers.is_empty() {
                continue;
            }
            let ways_out = self.moves(state).filter(|step| step.to != state);
            idle.entry(state).or_insert_with(|| Idle {
                text: &place.text,
                heard: self.heard_before(state),
                ways_out: ways_out.map(|step| step.on).collect(),
            });
        }
        idle.into_values().collect()
    }

    /// All states, each with the timers that are set and whether an effect is outstanding. One that was exhausted is,
    /// since operators see it.
    fn standings(&self, part: &Part) -> BTreeSet<Standing> {
        let untouched = self.course.states.iter().filter(|(_, place)| place.untouched);
        let mut waiting: Vec<Standing> = untouched
            .map(|(state, _)| (*state, BTreeSet::new(), false))
            .collect();
        let mut seen: BTreeSet<Standing> = waiting.iter().cloned().collect();
        while let Some((state, timers, busy)) = waiting.pop() {
            for step in self.moves(state) {
                let next = stand(part, step, timers.clone(), busy);
                if seen.insert(next.clone()) {
                    waiting.push(next);
                }
            }
        }
        seen
    }

    fn moves(&self, state: u64) -> impl Iterator<Item = &'c Move> {
        self.from.get(&state).into_iter().flatten().copied()
    }

    /// The states that these lead to, and themselves.
    fn reach(&self, mut waiting: Vec<u64>) -> BTreeSet<u64> {
        let mut seen: BTreeSet<u64> = waiting.iter().copied().collect();
        while let Some(state) = waiting.pop() {
            for step in self.moves(state) {
                if seen.insert(step.to) {
                    waiting.push(step.to);
                }
            }
        }
        seen
    }

    /// The inputs on all ways that lead to a state.
    fn heard_before(&self, state: u64) -> BTreeSet<&'static str> {
        let mut behind = BTreeSet::from([state]);
        let mut heard = BTreeSet::new();
        loop {
            let known = behind.len();
            for step in &self.course.moves {
                if behind.contains(&step.to) {
                    behind.insert(step.from);
                    heard.insert(step.on);
                }
            }
            if behind.len() == known {
                return heard;
            }
        }
    }
}

/// The clocks that run after a move.
fn stand(part: &Part, step: &Move, mut timers: BTreeSet<&'static str>, busy: bool) -> Standing {
    let kind = part.input(step.on).map(|spec| (spec.kind, spec.name));
    let mut busy = match kind {
        Some((crate::InputKind::Result, _)) => step.exhausted,
        Some((crate::InputKind::Timer, name)) => {
            timers.remove(name);
            busy
        }
        _ => busy,
    };
    for put in &step.puts {
        match part.output(put.output).map(|spec| (spec.kind, spec.name)) {
            Some((OutputKind::Timer, name)) if put.cancels => {
                timers.remove(name);
            }
            Some((OutputKind::Timer, name)) => {
                timers.insert(name);
            }
            Some((OutputKind::Effect { .. }, _)) => busy = true,
            _ => {}
        }
    }
    (step.to, timers, busy)
}
