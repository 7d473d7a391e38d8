//! One participant's seat in one saga: what the engine keeps for it between two decisions.
//!
//! Everything crosses it as it does in production: events, effects and answers through their codecs, timers
//! and inputs by their wire names.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::sync::Arc;

use saga_core::choreography::Recorder;
use saga_core::testkit::noon;
use saga_core::{At, Emission, InputKind, Inputs, Outputs, Participant, RawOutcome, Rows, Timer};
use uuid::Uuid;

/// The saga's topics.
pub(crate) const TOPICS: [&str; 3] = [
    quadrille_contracts::order::TOPIC,
    quadrille_contracts::stock::TOPIC,
    quadrille_contracts::payment::TOPIC,
];

/// What was published of one saga, by topic. Order within a key is all that Kafka promises, so a log per
/// saga is a partition's worth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Logs(pub(crate) [Vec<Arc<Record>>; 3]);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) name: &'static str,
    version: u32,
    data: Vec<u8>,
    /// Published once more, as after a restore: nobody decided it.
    again: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seat<S> {
    pub(crate) state: S,
    pub(crate) effect: Option<Row>,
    pub(crate) timers: BTreeSet<&'static str>,
    /// Cancelled, but taken up by somebody before that.
    pub(crate) cancelled_timers: BTreeSet<&'static str>,
    pub(crate) reading: [Cursor; 3],
}

/// Where a seat reads a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Cursor {
    pub(crate) next: usize,
    /// A record that a later one overtook.
    pub(crate) held_back: Option<usize>,
}

/// A row of the effect table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) kind: &'static str,
    pub(crate) data: Vec<u8>,
    pub(crate) stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// To be called.
    Ready,
    /// Called; the answer is not decided yet.
    Answered(String),
    /// Unknown. An operator may replay it.
    Exhausted,
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Decided,
    Refused,
}

impl<S: Clone + Eq> Seat<S> {
    /// Decides an input and does with its outputs what the engine does.
    ///
    /// # Errors
    /// A fault: the key would be parked, or the engine would refuse the decision.
    pub(crate) fn decide<P: Participant<State = S>>(
        &mut self,
        participant: &P,
        shared: &mut BTreeMap<P::SharedKey, P::Shared>,
        logs: &mut Logs,
        recorder: &Recorder,
        input: P::Input,
    ) -> Result<Told, String> {
        let on = input.spec();
        let find = |key| {
            let row = shared.get(&key).cloned();
            (key, row)
        };
        let touched = participant.touches(&self.state, &input).into_iter().map(find);
        let read = participant.reads(&self.state, &input).into_iter().map(find);
        let mut rows = Rows::new(touched).reading(read);
        let mut view = rows.view();
        let at = At {
            input: input.clone(),
            id: Uuid::nil(),
            now: noon(),
        };
        let decision = participant
            .decide(self.state.clone(), &mut view, at)
            .map_err(|fault| format!("{} on {}: {fault}", P::NAME, on.name))?;
        view.keep();
        if let Some(Err(_)) = decision.reply {
            if decision.state != self.state || !decision.outputs.is_empty() || !rows.changed().is_empty() {
                return Err(format!("{} refused {} and changed something", P::NAME, on.name));
            }
            return Ok(Told::Refused);
        }
        recorder.note(participant, &self.state, &input, &decision);
        shared.extend(rows.changed());
        self.state = decision.state;
        let answered = on.kind == InputKind::Result;
        for output in decision.outputs {
            match output.emission().expect("outputs are written as JSON") {
                Emission::Event {
                    topic,
                    name,
                    schema,
                    data,
                    ..
                } => {
                    let version = schema.rsplit('/').next().and_then(|version| version.parse().ok());
                    let record = Record {
                        name,
                        version: version.expect("name/version"),
                        data,
                        again: false,
                    };
                    logs.0[topic_index(topic)].push(Arc::new(record));
                }
                Emission::Effect { kind, data } => {
                    let replaces = match &self.effect {
                        None => true,
                        Some(row) => answered && row.stage == Stage::Exhausted,
                    };
                    if !replaces {
                        return Err(format!(
                            "{} put out {kind} while another effect is outstanding",
                            P::NAME
                        ));
                    }
                    self.effect = Some(Row {
                        kind,
                        data,
                        stage: Stage::Ready,
                    });
                }
                Emission::Timer {
                    name,
                    timer: Timer::In(_),
                } => {
                    self.cancelled_timers.remove(name);
                    self.timers.insert(name);
                }
                Emission::Timer {
                    name,
                    timer: Timer::Cancel,
                } => {
                    if self.timers.remove(name) {
                        self.cancelled_timers.insert(name);
                    }
                }
            }
        }
        Ok(Told::Decided)
    }

    /// Reads an effect's outcome, and removes or marks its row before the decision, as the engine does.
    pub(crate) fn take_outcome<P: Participant<State = S>>(&mut self) -> Option<P::Input> {
        let row = self.effect.as_mut()?;
        let (kind, raw) = match &row.stage {
            Stage::Answered(answer) => {
                let answer = serde_json::from_str(answer).expect("the provider answers in JSON");
                (row.kind, RawOutcome::Answered(answer))
            }
            Stage::Ready => (row.kind, RawOutcome::Exhausted { attempts: 8 }),
            Stage::Exhausted => return None,
        };
        match raw {
            RawOutcome::Answered(_) => self.effect = None,
            RawOutcome::Exhausted { .. } => row.stage = Stage::Exhausted,
        }
        let input = P::Input::from_result(kind, &raw).expect("an answer is read as it was written");
        Some(input.expect("who puts an effect out reads its outcome"))
    }

    /// Moves over records that this participant has no input for.
    pub(crate) fn skip_foreign<P: Participant<State = S>>(&mut self, logs: &Logs) {
        for (cursor, log) in self.reading.iter_mut().zip(&logs.0) {
            while log.get(cursor.next).is_some_and(|record| !reads::<P>(record)) {
                cursor.next += 1;
            }
        }
    }

    /// The record after the next, if both are there to be read.
    pub(crate) fn second_next<P: Participant<State = S>>(&self, topic: usize, logs: &Logs) -> Option<usize> {
        let log = &logs.0[topic];
        let first = self.reading[topic].next;
        (first + 1..log.len()).find(|&i| reads::<P>(&log[i]))
    }

    /// Nothing is left to hear.
    pub(crate) fn has_read_all(&self, logs: &Logs) -> bool {
        self.reading
            .iter()
            .zip(&logs.0)
            .all(|(cursor, log)| cursor.next == log.len() && cursor.held_back.is_none())
    }

    /// Parked, and to be seen by an operator.
    pub(crate) fn is_parked(&self) -> bool {
        self.effect
            .as_ref()
            .is_some_and(|row| row.stage == Stage::Exhausted)
    }
}

impl Logs {
    /// How often this was told. What was published again does not count.
    pub(crate) fn told(&self, name: &str) -> usize {
        let records = self.0.iter().flatten();
        records
            .filter(|record| !record.again && record.name == name)
            .count()
    }

    /// A record comes again, under a new position.
    pub(crate) fn publish_again(&mut self, topic: usize, index: usize) {
        let record = Record {
            again: true,
            ..(*self.0[topic][index]).clone()
        };
        self.0[topic].push(Arc::new(record));
    }
}

/// Reads a record as a participant does.
pub(crate) fn read<P: Participant>(record: &Record) -> P::Input {
    P::Input::from_event(record.name, record.version, &record.data)
        .expect("an event is read as it was written")
        .expect("foreign records were skipped")
}

fn reads<P: Participant>(record: &Record) -> bool {
    P::Input::SPEC
        .iter()
        .any(|spec| matches!(spec.kind, InputKind::Event { .. }) && spec.name == record.name)
}

fn topic_index(topic: &str) -> usize {
    TOPICS
        .iter()
        .position(|known| *known == topic)
        .expect("a topic of the saga")
}
