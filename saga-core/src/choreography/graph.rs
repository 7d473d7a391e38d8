//! A choreography as plain data.

use std::collections::BTreeSet;

use serde::Serialize;

use super::causes::{Causes, Said, StepId};
use super::observed::{Course, Observed};
use super::{Choreography, Part};
use crate::effect::Role;
use crate::input::InputKind;
use crate::output::OutputKind;

/// A choreography as data: who hears and says what. Sorted as it was declared, so it is the same in every run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Graph {
    /// The system.
    pub name: String,
    /// Who takes part.
    pub participants: Vec<Member>,
    /// What they tell each other.
    pub events: Vec<Told>,
}

/// A participant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// What it does on which input.
    pub steps: Vec<Reaction>,
}

/// What a participant does on one input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reaction {
    /// The input.
    pub on: Heard,
    /// What it may put out.
    pub puts_out: Vec<Act>,
    /// Which earlier outputs it undoes, by wire name.
    pub undoes: Vec<String>,
}

/// An input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Heard {
    /// From another participant, or from elsewhere.
    Event {
        /// Wire name.
        name: String,
    },
    /// From a caller.
    Command {
        /// Wire name.
        name: String,
        /// Who gives it, if that is declared.
        from: Option<String>,
    },
    /// From a deadline that fired.
    Timer {
        /// Wire name.
        name: String,
    },
    /// From the world outside.
    Outcome {
        /// Of which effect.
        name: String,
    },
}

/// An output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Act {
    /// To whoever hears it.
    Event {
        /// Wire name.
        name: String,
        /// It says no.
        refuses: bool,
        /// It belongs to the way back.
        backward: bool,
    },
    /// To the world outside.
    Effect {
        /// Wire name.
        name: String,
        /// It leaves nothing behind.
        asks: bool,
        /// It belongs to the way back.
        backward: bool,
        /// Calls before the outcome is unknown.
        attempts: u32,
    },
    /// To itself.
    Timer {
        /// Wire name.
        name: String,
        /// It was seen to be set.
        sets: bool,
        /// It was seen to be cancelled.
        cancels: bool,
    },
}

/// An event, and between whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Wire name.
    pub name: String,
    /// Where.
    pub topic: String,
    /// In which version.
    pub version: u32,
    /// What its key is.
    pub key: String,
    /// It says no.
    pub refuses: bool,
    /// It belongs to the way back.
    pub backward: bool,
    /// Who says it.
    pub said_by: Vec<String>,
    /// Who hears it.
    pub heard_by: Vec<String>,
    /// Why no participant hears it.
    pub for_observers: Option<String>,
}

pub(super) fn of(choreography: &Choreography, observed: &Observed) -> Graph {
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
            let hears = |to: &&Part| to.hears().any(|input| super::part::meets(part, spec, to, input));
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
    Graph {
        name: choreography.name.to_owned(),
        participants: members.collect(),
        events,
    }
}

fn steps(
    choreography: &Choreography,
    index: usize,
    part: &Part,
    course: Option<&Course>,
    backward: &BTreeSet<Said>,
) -> Vec<Reaction> {
    let act = |on: &str, output: &'static str| {
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
    };
    let reaction = |step: &'static crate::Step| {
        let wire = |output: &&'static str| part.output(output).map(|spec| spec.name.to_owned());
        Some(Reaction {
            on: heard(choreography, part, step.on)?,
            puts_out: step
                .emits
                .iter()
                .filter_map(|output| act(step.on, output))
                .collect(),
            undoes: step.undoes.iter().filter_map(wire).collect(),
        })
    };
    part.steps.iter().filter_map(reaction).collect()
}

fn heard(choreography: &Choreography, part: &Part, variant: &str) -> Option<Heard> {
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
