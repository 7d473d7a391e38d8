//! A choreography as plain data, for other tools: its JSON is a format.
//!
//! Everything has its wire name, and everything that is said twice is said the same: `participants` tell step by step what
//! people read in the tables, and the lists after it say it once more for whoever looks for one kind of thing. A picture
//! needs `events`, `effects`, `timers` and `compensations`; whoever holds the code against what happens needs `edges`.

use serde::{Deserialize, Serialize};

pub(super) use build::of;

/// From the types of the participants, and what they were seen to do.
mod build;
/// The lists.
mod lists;

/// The format of a graph's JSON. New members may join it under this name, so readers have to pass over what they do not
/// know; if one goes or comes to mean something else, the number is another.
pub const FORMAT: &str = "quadrille-choreography/1";

/// A choreography as data: who hears and says what. Sorted as it was declared, so it is the same in every run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// [`FORMAT`].
    pub format: String,
    /// The system.
    pub name: String,
    /// Who takes part.
    pub participants: Vec<Member>,
    /// What they tell each other.
    pub events: Vec<Told>,
    /// What they do to the world outside, or ask of it.
    pub effects: Vec<Called>,
    /// What they wait for.
    pub timers: Vec<Awaited>,
    /// What is undone, by whom and when.
    pub compensations: Vec<Undone>,
    /// What is put out on what.
    pub edges: Vec<Edge>,
}

impl Graph {
    /// Its JSON, as it is committed beside the page that people read.
    pub fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("strings, numbers and lists are JSON");
        text + "\n"
    }
}

/// A participant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// What it does on which input.
    pub steps: Vec<Reaction>,
}

/// What a participant does on one input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The input.
    pub on: Heard,
    /// What it may put out.
    pub puts_out: Vec<Act>,
    /// Which earlier outputs it undoes, by wire name.
    pub undoes: Vec<String>,
}

/// An input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// An effect of a participant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Called {
    /// Whose.
    pub participant: String,
    /// Wire name.
    pub name: String,
    /// It leaves nothing behind.
    pub asks: bool,
    /// It belongs to the way back.
    pub backward: bool,
    /// Calls before the outcome is unknown.
    pub attempts: u32,
    /// On what it is called.
    pub on: Vec<Heard>,
}

/// A timer of a participant. Its firing is an input of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// Whose.
    pub participant: String,
    /// Wire name.
    pub name: String,
    /// On what it was seen to be set.
    pub set_on: Vec<Heard>,
    /// On what it was seen to be cancelled.
    pub cancelled_on: Vec<Heard>,
}

/// A compensation: on an input, a participant undoes what it did before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// Who undoes it.
    pub participant: String,
    /// Its event or effect that is undone, by wire name.
    pub undoes: String,
    /// On what.
    pub on: Heard,
    /// What it may put out then: the event that tells of it, or the effect that does it. By wire name.
    pub by: Vec<String>,
}

/// On an input, a participant puts something out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Who.
    pub participant: String,
    /// On what.
    pub on: Heard,
    /// What it puts out.
    pub puts_out: Act,
    /// Who takes it: other participants an event; the participant itself the firing of a timer, or what came of an effect.
    pub to: Vec<String>,
    /// `steps!` says so.
    pub declared: bool,
    /// A decision was seen to do so.
    pub observed: bool,
}
