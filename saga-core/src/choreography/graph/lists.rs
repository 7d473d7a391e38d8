use std::collections::BTreeSet;

use super::super::Choreography;
use super::super::causes::Said;
use super::super::observed::{Course, Observed};
use super::super::part::{Part, meets};
use super::build::{act, heard};
use super::{Act, Awaited, Called, Edge, Member, Reaction, Undone};

pub(super) fn effects(members: &[Member]) -> Vec<Called> {
    let mut called: Vec<Called> = Vec::new();
    for (participant, step, act) in acts(members) {
        let Act::Effect {
            name,
            asks,
            backward,
            attempts,
        } = act
        else {
            continue;
        };
        let known = called
            .iter_mut()
            .find(|known| known.participant == participant && known.name == *name);
        match known {
            Some(known) => known.on.push(step.on.clone()),
            None => called.push(Called {
                participant: participant.to_owned(),
                name: name.clone(),
                asks: *asks,
                backward: *backward,
                attempts: *attempts,
                on: vec![step.on.clone()],
            }),
        }
    }
    called
}

pub(super) fn timers(members: &[Member]) -> Vec<Awaited> {
    let mut awaited: Vec<Awaited> = Vec::new();
    for (participant, step, act) in acts(members) {
        let Act::Timer { name, sets, cancels } = act else {
            continue;
        };
        let known = awaited
            .iter()
            .position(|known| known.participant == participant && known.name == *name);
        let at = known.unwrap_or_else(|| {
            awaited.push(Awaited {
                participant: participant.to_owned(),
                name: name.clone(),
                set_on: Vec::new(),
                cancelled_on: Vec::new(),
            });
            awaited.len() - 1
        });
        awaited[at].set_on.extend(sets.then(|| step.on.clone()));
        awaited[at].cancelled_on.extend(cancels.then(|| step.on.clone()));
    }
    awaited
}

pub(super) fn compensations(members: &[Member]) -> Vec<Undone> {
    let mut undone = Vec::new();
    for member in members {
        for step in &member.steps {
            let by = step.puts_out.iter().filter_map(|act| match act {
                Act::Event { name, .. } | Act::Effect { name, .. } => Some(name.clone()),
                Act::Timer { .. } => None,
            });
            let by: Vec<String> = by.collect();
            undone.extend(step.undoes.iter().map(|undoes| Undone {
                participant: member.name.clone(),
                undoes: undoes.clone(),
                on: step.on.clone(),
                by: by.clone(),
            }));
        }
    }
    undone
}

fn acts(members: &[Member]) -> impl Iterator<Item = (&str, &Reaction, &Act)> {
    members.iter().flat_map(|member| {
        let name = member.name.as_str();
        let of = move |step| acts_of(step).map(move |act| (name, step, act));
        member.steps.iter().flat_map(of)
    })
}

fn acts_of(step: &Reaction) -> impl Iterator<Item = &Act> {
    step.puts_out.iter()
}

/// What is declared, in its order, and then what was seen and is not.
pub(super) fn edges(
    choreography: &Choreography,
    observed: &Observed,
    backward: &BTreeSet<Said>,
) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (index, part) in choreography.parts.iter().enumerate() {
        let course = observed.parts.get(part.name);
        let seen: BTreeSet<(&'static str, &'static str)> = course
            .into_iter()
            .flat_map(Course::edges)
            .map(|(on, put)| (on, put.output))
            .collect();
        let declared: Vec<(&'static str, &'static str)> = part
            .steps
            .iter()
            .flat_map(|step| step.emits.iter().map(|output| (step.on, *output)))
            .collect();
        let more = seen.iter().filter(|edge| !declared.contains(edge));
        for edge @ (on, output) in declared.iter().chain(more) {
            let on_what = heard(choreography, part, on);
            let (Some(on_what), Some(puts_out)) = (on_what, act(index, part, course, backward, on, output))
            else {
                continue;
            };
            edges.push(Edge {
                participant: part.name.to_owned(),
                on: on_what,
                puts_out,
                to: takers(&choreography.parts, part, output),
                declared: declared.contains(edge),
                observed: seen.contains(edge),
            });
        }
    }
    edges
}

fn takers(parts: &[Part], from: &Part, output: &str) -> Vec<String> {
    let Some(spec) = from.output(output) else {
        return Vec::new();
    };
    let takes = |to: &&Part| to.inputs.iter().any(|input| meets(from, spec, to, input));
    let takers = parts.iter().filter(takes);
    takers.map(|to| to.name.to_owned()).collect()
}
