use std::collections::{BTreeMap, BTreeSet};

use super::super::causes::{Causes, Said, StepId};
use super::super::course::Ways;
use super::super::finding::{Check, Finding};
use super::super::observed::Observed;
use crate::output::OutputKind;

pub(super) fn check(causes: &Causes<'_>, observed: &Observed, found: &mut Vec<Finding>) {
    for said in causes.all_said() {
        let spec = causes.spec(said).map(|spec| (spec.kind, spec.name));
        if let Some((OutputKind::Effect { policy, .. }, name)) = spec
            && policy.attempts == u32::MAX
        {
            found.push(Finding::new(
                Check::LoopWithoutBound,
                format!("{}'s {name}", causes.part(said.part).name),
                "it is tried for ever",
                "give its policy a number of attempts; what is exhausted is asked after, or waits for an operator",
            ));
        }
    }
    let again = repeatable(causes, observed);
    let passes = |step: StepId, said: Said| again.contains(&(step, said.output));
    let mut told = BTreeSet::new();
    for step in causes.steps() {
        let firsts = causes.puts(step).iter().filter(|said| passes(step, **said));
        let firsts = firsts.flat_map(|said| causes.takers(*said).iter().copied());
        let around = causes.reach_by(firsts, passes);
        if !around.contains(&step) || told.contains(&step) {
            continue;
        }
        let way = shortest(causes, step, passes);
        told.extend(around.iter().copied().filter(|other| {
            let back = causes.reach_by([*other], passes);
            back.contains(&step)
        }));
        let names: Vec<_> = way
            .iter()
            .map(|(step, said)| format!("{} puts out {}", causes.name(*step), said.output))
            .collect();
        found.push(Finding::new(
            Check::LoopWithoutBound,
            causes.name(step),
            format!(
                "it leads back to itself, and nothing on the way counts: {}",
                names.join(", ")
            ),
            "count in a participant's state and stop, or go on to a state from which nothing leads back",
        ));
    }
}

/// What was seen on a way from a state back to itself.
fn repeatable(causes: &Causes<'_>, observed: &Observed) -> BTreeSet<(StepId, &'static str)> {
    let mut again = BTreeSet::new();
    for (name, course) in &observed.parts {
        let repeats = Ways::of(course).repeatable();
        let steps = causes.steps().filter(|id| causes.part(id.part).name == *name);
        for step in steps {
            let on = causes.step(step).on;
            let outputs = repeats.iter().filter(|(seen, _)| *seen == on);
            again.extend(outputs.map(|(_, output)| (step, *output)));
        }
    }
    again
}

/// The shortest way from a step back to it.
fn shortest(
    causes: &Causes<'_>,
    start: StepId,
    passes: impl Fn(StepId, Said) -> bool,
) -> Vec<(StepId, Said)> {
    let mut came: BTreeMap<StepId, (StepId, Said)> = BTreeMap::new();
    let mut waiting = std::collections::VecDeque::from([start]);
    while let Some(step) = waiting.pop_front() {
        for said in causes.puts(step).iter().filter(|said| passes(step, **said)) {
            for next in causes.takers(*said) {
                if came.contains_key(next) {
                    continue;
                }
                came.insert(*next, (step, *said));
                waiting.push_back(*next);
            }
        }
    }
    let mut way = Vec::new();
    let mut at = start;
    while let Some((from, said)) = came.get(&at) {
        way.push((*from, *said));
        at = *from;
        if at == start {
            break;
        }
    }
    way.reverse();
    way
}
