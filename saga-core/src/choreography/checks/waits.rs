use std::collections::BTreeSet;

use super::super::Choreography;
use super::super::causes::{Causes, StepId};
use super::super::course::{Idle, Ways};
use super::super::finding::{Check, Finding};
use super::super::observed::Observed;
use super::unused;
use crate::output::OutputKind;

pub(super) fn check(
    choreography: &Choreography,
    causes: &Causes<'_>,
    observed: &Observed,
    found: &mut Vec<Finding>,
) {
    let mut waiting = BTreeSet::new();
    for (index, part) in causes.parts.iter().enumerate() {
        let Some(course) = observed.parts.get(part.name) else {
            continue;
        };
        let mut told = BTreeSet::new();
        for idle in Ways::of(course).idle(part) {
            if is_wound_up(causes, index, &idle) {
                continue;
            }
            waiting.insert(part.name);
            let may_wait = choreography
                .may_wait
                .iter()
                .any(|allowed| allowed.name == part.name);
            // One finding for each name: its states differ in what they hold only.
            if !may_wait && told.insert(name(idle.text)) {
                found.push(finding(part.name, &idle));
            }
        }
    }
    unused(
        &choreography.may_wait,
        |name| waiting.contains(name),
        "it may wait, and never does",
        found,
    );
}

fn finding(part: &str, idle: &Idle<'_>) -> Finding {
    let ways_out: Vec<_> = idle.ways_out.iter().copied().collect();
    let hope = match ways_out.as_slice() {
        [] => "nothing was seen to lead out of it".to_owned(),
        some => format!(
            "only {} leads out of it, and no clock leads to that",
            some.join(" or ")
        ),
    };
    Finding::new(
        Check::WaitWithoutDeadline,
        format!("{part} in {}", name(idle.text)),
        format!("it waits, and {hope} ({})", idle.text),
        "set a timer where the wait begins, let is_ended say that it is over, let the run that was watched lead on, \
         or say with may_wait why it may last",
    )
}

/// The variant of a state.
fn name(state: &str) -> &str {
    state.split([' ', '(', '{']).next().unwrap_or(state)
}

/// Whether a clock leads to an input that leads out: one that was started on the way here, or by somebody who was told
/// something on the way.
fn is_wound_up(causes: &Causes<'_>, part: usize, idle: &Idle<'_>) -> bool {
    let leads_out = |step: &StepId| step.part == part && idle.ways_out.contains(causes.step(*step).on);
    let heard: Vec<StepId> = causes
        .steps()
        .filter(|step| step.part == part && idle.heard.contains(causes.step(*step).on))
        .collect();
    let told = heard.iter().flat_map(|step| causes.puts(*step));
    let told = told.flat_map(|said| causes.takers(*said)).copied();
    // What is told here is yet to be heard, so nothing that follows from it has begun.
    let others = causes.reach_by(told, |step, _| step.part != part);
    let begun = others.into_iter().filter(|step| step.part != part);
    let steps: BTreeSet<StepId> = causes
        .behind(heard.iter().copied())
        .into_iter()
        .chain(begun)
        .collect();
    let clocks = steps.iter().flat_map(|step| causes.puts(*step)).filter(|said| {
        matches!(
            causes.spec(**said).map(|spec| spec.kind),
            Some(OutputKind::Timer | OutputKind::Effect { .. })
        )
    });
    let fire: BTreeSet<StepId> = clocks.flat_map(|said| causes.takers(*said)).copied().collect();
    causes.reach(fire).iter().any(leads_out)
}
