use std::collections::BTreeSet;

use super::super::causes::{Causes, Said, StepId};
use super::super::observed::{Course, Observed};
use super::super::{Choreography, Part};
use super::{Act, FORMAT, Graph, Heard, Member, Reaction, Told, lists};
use crate::effect::Role;
use crate::input::InputKind;
use crate::output::OutputKind;

pub(in crate::choreography) fn of(choreography: &Choreography, observed: &Observed) -> Graph {
    let causes = Causes::of(&choreography.parts, observed);
    let backward = backward(&causes);
    let members = choreography.parts.iter().enumerate().map(|(index, part)| Member {
        name: part.name.to_owned(),
        steps: steps(
            choreography,
            index,
            part,
            observed.parts.get(part.name),
            &backward,
        ),
    });
    let mut events: Vec<Told> = Vec::new();
    for (index, part) in choreography.parts.iter().enumerate() {
        for spec in part.says() {
            let OutputKind::Event {
                topic,
                version,
                key,
                refuses,
            } = spec.kind
            else {
                continue;
            };
            if let Some(known) = events
                .iter_mut()
                .find(|event| event.name == spec.name && event.topic == topic)
            {
                known.said_by.push(part.name.to_owned());
                continue;
            }
            let hears = |to: &&Part| {
                to.hears()
                    .any(|input| super::super::part::meets(part, spec, to, input))
            };
            let seen = choreography
                .observers
                .iter()
                .find(|event| event.name == spec.name);
            events.push(Told {
                name: spec.name.to_owned(),
                topic: topic.to_owned(),
                version,
                key: key.to_owned(),
                refuses,
                backward: backward.contains(&Said {
                    part: index,
                    output: spec.variant,
                }),
                said_by: vec![part.name.to_owned()],
                heard_by: choreography
                    .parts
                    .iter()
                    .filter(hears)
                    .map(|to| to.name.to_owned())
                    .collect(),
                for_observers: seen.map(|event| event.why.to_owned()),
            });
        }
    }
    let participants: Vec<Member> = members.collect();
    let edges = lists::edges(choreography, observed, &backward);
    Graph {
        format: FORMAT.to_owned(),
        name: choreography.name.to_owned(),
        effects: lists::effects(&participants),
        timers: lists::timers(&participants),
        compensations: lists::compensations(&participants),
        participants,
        events,
        edges,
    }
}

fn steps(
    choreography: &Choreography,
    index: usize,
    part: &Part,
    course: Option<&Course>,
    backward: &BTreeSet<Said>,
) -> Vec<Reaction> {
    let reaction = |step: &'static crate::Step| {
        let wire = |output: &&'static str| part.output(output).map(|spec| spec.name.to_owned());
        Some(Reaction {
            on: heard(choreography, part, step.on)?,
            puts_out: step
                .emits
                .iter()
                .filter_map(|output| act(index, part, course, backward, step.on, output))
                .collect(),
            undoes: step.undoes.iter().filter_map(wire).collect(),
        })
    };
    part.steps.iter().filter_map(reaction).collect()
}

/// What a participant puts out on an input.
pub(super) fn act(
    index: usize,
    part: &Part,
    course: Option<&Course>,
    backward: &BTreeSet<Said>,
    on: &str,
    output: &'static str,
) -> Option<Act> {
    let spec = part.output(output)?;
    let name = spec.name.to_owned();
    let backward = backward.contains(&Said { part: index, output });
    let seen = |cancels: bool| {
        let mut edges = course.into_iter().flat_map(Course::edges);
        edges.any(|(at, put)| at == on && put.output == output && put.cancels == cancels)
    };
    Some(match spec.kind {
        OutputKind::Event { refuses, .. } => Act::Event {
            name,
            refuses,
            backward,
        },
        OutputKind::Effect { policy, role } => Act::Effect {
            name,
            asks: role == Role::Asks,
            backward,
            attempts: policy.attempts,
        },
        OutputKind::Timer => Act::Timer {
            name,
            sets: seen(false),
            cancels: seen(true),
        },
    })
}

pub(super) fn heard(choreography: &Choreography, part: &Part, variant: &str) -> Option<Heard> {
    let spec = part.input(variant)?;
    let name = spec.name.to_owned();
    Some(match spec.kind {
        InputKind::Event { .. } => Heard::Event { name },
        InputKind::Command => {
            let mut entries = choreography.entries.iter();
            let entry = entries.find(|entry| entry.participant == part.name && entry.command == variant);
            Heard::Command {
                name,
                from: entry.map(|entry| entry.who.to_owned()),
            }
        }
        InputKind::Timer => Heard::Timer { name },
        InputKind::Result => Heard::Outcome { name },
    })
}

/// The outputs of the way back: what a step puts out that undoes something, and what comes of nothing else.
fn backward(causes: &Causes<'_>) -> BTreeSet<Said> {
    let undoing = |step: &StepId| !causes.step(*step).undoes.is_empty();
    let all = causes.all_said();
    let mut back: BTreeSet<Said> = causes
        .steps()
        .filter(undoing)
        .flat_map(|step| causes.puts(step))
        .copied()
        .collect();
    loop {
        let leads_back = |step: StepId| {
            let mut before = causes.before(step).peekable();
            before.peek().is_some() && before.all(|(_, said)| back.contains(&said))
        };
        let more: Vec<Said> = all
            .iter()
            .filter(|said| !back.contains(said))
            .filter(|said| {
                causes
                    .speakers(**said)
                    .all(|step| undoing(&step) || leads_back(step))
            })
            .copied()
            .collect();
        if more.is_empty() {
            return back;
        }
        back.extend(more);
    }
}
