//! Yesterday's events against today's build: would it have decided the same?
//!
//! A topic records what a participant heard from others and what it told, and each event names its cause. It does not
//! record in which order a participant read two topics, nor its commands, its timers and the answers to its effects.
//! So a saga is replayed like this: whatever was heard is put to the build's own `decide`, in any order that the topics
//! allow; where an event that was told has a cause that is in no topic, the participant says what that cause may have
//! been ([`Replay::unrecorded`](crate::replay::Replay::unrecorded)). If one of these ways leads to exactly the events
//! that were told, the build decides the same. If none does, the way that led the furthest is the story of the first
//! difference.
//!
//! Where a topic grew while a saga was under way, its events stand in two partitions; they are put together by the
//! positions that the outbox gave them, so that the replay is the one of a topic that never grew.
//!
//! What this cannot see: effects and timers, which are in no topic, other than by the events that come of them; and a
//! mistake that is made up for by an answer that was never given.

use std::collections::BTreeMap;
use std::fmt::Debug;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::envelope::{
    CE_CAUSATIONID, CE_DATASCHEMA, CE_ID, CE_SEQUENCE, CE_SOURCE, CE_TIME, CE_TYPE, schema_version,
};
use crate::input::{Inputs as _, topics};
use crate::output::{OutputKind, Outputs};
use crate::participant::Participant;
use crate::strands::{Mark, Strands};

/// Looks for a way through one saga.
mod search;

pub use search::replay;

/// A participant that can be replayed: it knows what no topic records.
pub trait Replay: Participant {
    /// The first event of a saga that *this* participant hears or tells, which need not be the saga's first. A saga in whose
    /// record it is missing began before the record, and is passed over.
    const BEGINS: &'static str;

    /// The commands, timers and answers that may come to a saga in this state. `told` are the events that came of it,
    /// from which amounts and codes can be taken; none of them if nothing was told.
    fn unrecorded(&self, key: &Self::Key, state: &Self::State, told: &[Told]) -> Vec<Self::Input>;

    /// A shared row as it may have been, given what was told.
    fn row(&self, key: &Self::SharedKey, told: &[Told]) -> Option<Self::Shared> {
        let _ = (key, told);
        None
    }
}

/// An event as a topic has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Its id.
    pub id: Uuid,
    /// The input that caused it.
    pub cause: Option<Uuid>,
    /// Its name.
    pub name: String,
    /// The version of its data.
    pub version: u32,
    /// Its data.
    pub data: Value,
    /// When it happened.
    pub at: Option<DateTime<Utc>>,
    /// Where it stands: `order-events/3@17`.
    pub place: String,
}

/// What one participant heard and told of one saga.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// By topic, in its order.
    pub heard: Vec<Vec<Told>>,
    /// In its order.
    pub told: Vec<Told>,
}

/// What came of a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The same events: so many of recorded causes, and so many of causes that were inferred.
    Same {
        /// Decisions on events that stand in a topic.
        recorded: u64,
        /// Decisions on commands, timers and answers.
        inferred: u64,
    },
    /// Other events, or none, or the key would be parked.
    Differs(Box<Difference>),
    /// More ways than are tried.
    Undecided,
}

/// The first difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What came before, with what was told of it.
    pub before: Vec<String>,
    /// The state, as the build of today has it.
    pub state: String,
    /// What came.
    pub came: String,
    /// What was told then.
    pub then: String,
    /// What is decided now.
    pub now: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.before.is_empty() {
            writeln!(f, "  so far, as before:")?;
            for step in &self.before {
                writeln!(f, "    {step}")?;
            }
        }
        writeln!(f, "  in this state:  {}", self.state)?;
        writeln!(f, "  there came:     {}", self.came)?;
        writeln!(f, "  decided then:   {}", self.then)?;
        write!(f, "  decided now:    {}", self.now)
    }
}

/// All sagas of a record, replayed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Sagas in which the same was decided.
    pub same: u64,
    /// Sagas that begin before the record does.
    pub cut: u64,
    /// Sagas with more ways than are tried.
    pub undecided: Vec<String>,
    /// Decisions that led to events, on events that stand in a topic.
    pub recorded: u64,
    /// The same, on inputs that had to be inferred.
    pub inferred: u64,
    /// Sagas in which something else is decided; the first of them with their story.
    pub differ: u64,
    /// By saga; a hundred at the most.
    pub stories: Vec<(String, Difference)>,
}

const STORIES_MAX: usize = 100;

impl Report {
    /// Adds another part of the same record.
    pub fn join(&mut self, other: Self) {
        self.same += other.same;
        self.cut += other.cut;
        self.undecided.extend(other.undecided);
        self.recorded += other.recorded;
        self.inferred += other.inferred;
        self.differ += other.differ;
        let room = STORIES_MAX.saturating_sub(self.stories.len());
        self.stories.extend(other.stories.into_iter().take(room));
    }
}

/// Sagas by key, filled from a record line by line.
#[derive(Debug)]
pub struct Sagas<'p, P> {
    participant: &'p P,
    /// Topics without prefix.
    hears: Vec<&'static str>,
    tells: Vec<&'static str>,
    sagas: BTreeMap<String, Lines>,
}

/// What was read of one saga so far.
#[derive(Debug, Default)]
struct Lines {
    /// By topic, and by its partitions.
    heard: Vec<Strands<i64, Told>>,
    /// By topic and partition: one outbox told all of it, so its positions order that of several topics as well.
    told: Strands<(String, i64), Told>,
}

impl Lines {
    fn recorded(self) -> Recorded {
        Recorded {
            heard: self.heard.into_iter().map(Strands::merged).collect(),
            told: self.told.merged(),
        }
    }
}

/// A line that is no record.
#[derive(Debug, thiserror::Error)]
#[error("the line is no record of a topic")]
pub struct NoRecord(#[source] serde_json::Error);

impl<'p, P: Replay> Sagas<'p, P> {
    /// None yet.
    pub fn of(participant: &'p P) -> Self {
        let mut tells: Vec<_> = P::Output::SPEC
            .iter()
            .filter_map(|spec| match spec.kind {
                OutputKind::Event { topic, .. } => Some(topic),
                OutputKind::Effect { .. } | OutputKind::Timer => None,
            })
            .collect();
        tells.dedup();
        Self {
            participant,
            hears: topics::<P::Input>(),
            tells,
            sagas: BTreeMap::new(),
        }
    }

    /// Takes a line as `sagactl replay record` and `sagactl topics tail --output json` write it. Records of other topics
    /// and what is no event are passed over.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn take(&mut self, line: &str) -> Result<(), NoRecord> {
        let record: Value = serde_json::from_str(line).map_err(NoRecord)?;
        let topic = record["topic"].as_str().unwrap_or_default();
        let heard = self.hears.iter().position(|name| topic.ends_with(name));
        let told = self.tells.iter().any(|name| topic.ends_with(name));
        let (Some(key), Some(event)) = (record["key"].as_str(), told_of(&record)) else {
            return Ok(());
        };
        if heard.is_none() && !told || heard.is_some() && !self.is_of_a_saga(&event) {
            return Ok(());
        }
        let saga = self.sagas.entry(key.to_owned()).or_default();
        saga.heard.resize_with(self.hears.len(), Strands::default);
        let partition = record["partition"].as_i64().unwrap_or_default();
        // Published at least once: the copy has the same id.
        let id = event.id;
        let is_same = |known: &Told| known.id == id;
        match heard.map(|index| &mut saga.heard[index]) {
            Some(heard) if !heard.iter().any(is_same) => heard.push(partition, mark_of(&record), event),
            None if !saga.told.iter().any(is_same) => {
                let at = (topic.to_owned(), partition);
                saga.told.push(at, mark_of(&record), event);
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// What cannot be read may be of one: the replay will say so.
    fn is_of_a_saga(&self, event: &Told) -> bool {
        let data = serde_json::to_vec(&event.data).unwrap_or_default();
        match P::Input::from_event(&event.name, event.version, &data) {
            Ok(Some(input)) => self.participant.key(&input).is_some(),
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Replays all of them. What was heard after `settled` may not have been decided when the record ended.
    pub fn replay(self, settled: Option<DateTime<Utc>>) -> Report {
        let mut report = Report::default();
        for (text, lines) in self.sagas {
            let recorded = lines.recorded();
            let all = || recorded.heard.iter().flatten().chain(&recorded.told);
            let Ok(key) = text.parse::<P::Key>() else {
                continue;
            };
            if !all().any(|event| event.name == P::BEGINS) {
                report.cut += 1;
                continue;
            }
            match replay(self.participant, &key, &recorded, settled) {
                Outcome::Same { recorded, inferred } => {
                    report.same += 1;
                    report.recorded += recorded;
                    report.inferred += inferred;
                }
                Outcome::Differs(difference) => {
                    report.differ += 1;
                    if report.stories.len() < STORIES_MAX {
                        report.stories.push((text, *difference));
                    }
                }
                Outcome::Undecided => report.undecided.push(text),
            }
        }
        report
    }
}

fn mark_of(record: &Value) -> Mark {
    let header = |name: &str| record["headers"][name].as_str();
    Mark {
        source: header(CE_SOURCE).unwrap_or_default().to_owned(),
        sequence: header(CE_SEQUENCE).and_then(|text| text.parse().ok()),
        written: record["timestamp"].as_str().and_then(|time| time.parse().ok()),
    }
}

fn told_of(record: &Value) -> Option<Told> {
    let header = |name: &str| record["headers"][name].as_str();
    Some(Told {
        id: header(CE_ID)?.parse().ok()?,
        cause: header(CE_CAUSATIONID).and_then(|cause| cause.parse().ok()),
        name: header(CE_TYPE)?.to_owned(),
        version: header(CE_DATASCHEMA).and_then(schema_version).unwrap_or(1),
        data: record["payload"].clone(),
        at: header(CE_TIME)
            .and_then(|time| DateTime::parse_from_rfc3339(time).ok())
            .map(|time| time.with_timezone(&Utc)),
        place: format!(
            "{}/{}@{}",
            record["topic"].as_str().unwrap_or_default(),
            record["partition"],
            record["offset"]
        ),
    })
}
