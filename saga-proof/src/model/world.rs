//! A state of the whole, and what a claim can see of it.

use std::any::Any;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

use saga_core::{Participant, RawOutcome};

use super::Faults;
use super::erased::Erased;
use super::log::{Cursor, Entry};
use super::part::{Part, SharedRows};

/// Everything, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World<O> {
    pub(crate) sagas: Vec<Life>,
    /// By participant.
    pub(crate) shared: Vec<Erased>,
    pub(crate) outside: O,
    /// A participant said "impossible", or the engine would have.
    pub(crate) fault: Option<String>,
}

/// One saga, as all participants together have it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Life {
    /// By participant.
    pub(crate) seats: Vec<Seat>,
    /// By topic.
    pub(crate) logs: Vec<Vec<Entry>>,
    /// Calls that timed out on our side and may still arrive.
    pub(crate) under_way: Vec<(&'static str, Arc<[u8]>)>,
    pub(crate) left: Faults,
}

/// What the engine keeps of one saga for one participant between two decisions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seat {
    pub(crate) state: Erased,
    pub(crate) effect: Option<Row>,
    pub(crate) timers: BTreeSet<&'static str>,
    /// Cancelled, but taken up by somebody before that.
    pub(crate) cancelled_timers: BTreeSet<&'static str>,
    /// By topic.
    pub(crate) reading: Vec<Cursor>,
}

/// A row of the effect table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) kind: &'static str,
    pub(crate) data: Arc<[u8]>,
    pub(crate) stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// To be called.
    Ready,
    /// Called; the answer, as JSON, is not decided yet.
    Answered(Arc<str>),
    /// Unknown. An operator may have it tried again.
    Exhausted,
}

/// A saga at one moment, for claims about it.
#[derive(Debug)]
pub struct Saga<'w, O> {
    pub(crate) world: &'w World<O>,
    pub(crate) parts: &'w [Arc<dyn Part>],
    pub(crate) keys: &'w [String],
    pub(crate) index: usize,
}

impl<O> Clone for Saga<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Saga<'_, O> {}

impl<'w, O> Saga<'w, O> {
    /// Its key.
    ///
    /// # Panics
    /// If its text is no key of that kind.
    pub fn key<K: FromStr>(&self) -> K {
        let text = &self.keys[self.index];
        text.parse()
            .unwrap_or_else(|_| panic!("'{text}' is no key of this kind"))
    }

    /// What a participant knows of it.
    ///
    /// # Panics
    /// If the model has no such participant.
    pub fn of<P: Participant>(&self) -> &'w P::State {
        self.life().seats[self.part::<P>()].state.get()
    }

    /// A shared row of a participant.
    ///
    /// # Panics
    /// If the model has no such participant.
    pub fn shared<P: Participant>(&self, key: &P::SharedKey) -> Option<&'w P::Shared> {
        let rows: &SharedRows<P> = self.world.shared[self.part::<P>()].get();
        rows.get(key)
    }

    /// The world outside.
    pub fn outside(&self) -> &'w O {
        &self.world.outside
    }

    /// How often an event was told, by its wire name. What was published again does not count.
    pub fn told(&self, event: &str) -> usize {
        let entries = self.life().logs.iter().flatten();
        entries
            .filter(|entry| !entry.again && entry.record.name == event)
            .count()
    }

    /// Whether a timer of a participant is set.
    ///
    /// # Panics
    /// If the model has no such participant.
    pub fn waits_for<P: Participant>(&self, timer: &str) -> bool {
        self.life().seats[self.part::<P>()].timers.contains(timer)
    }

    /// Whether an effect has exhausted its attempts, and waits for an operator who sees it.
    pub fn is_parked(&self) -> bool {
        self.life().seats.iter().any(Seat::is_parked)
    }

    /// Whether nothing is left that must happen: everything is heard and answered, and no timer is set.
    pub fn is_at_rest(&self) -> bool {
        self.life().is_at_rest()
    }

    /// All sagas of the model, this one among them.
    pub fn all(&self) -> impl Iterator<Item = Saga<'w, O>> + use<'w, O> {
        let this = *self;
        (0..this.world.sagas.len()).map(move |index| Saga { index, ..this })
    }

    fn life(&self) -> &'w Life {
        &self.world.sagas[self.index]
    }

    fn part<P: Participant>(&self) -> usize {
        let found = self.parts.iter().position(|part| part.name() == P::NAME);
        found.unwrap_or_else(|| panic!("the model has no participant {}", P::NAME))
    }
}

impl Seat {
    pub(crate) fn is_parked(&self) -> bool {
        let row = self.effect.as_ref();
        row.is_some_and(|row| row.stage == Stage::Exhausted)
    }

    /// Reads an effect's outcome, and removes or marks its row before the decision, as the engine does.
    pub(crate) fn take_outcome(&mut self) -> Option<(&'static str, RawOutcome)> {
        let row = self.effect.as_mut()?;
        let kind = row.kind;
        match &row.stage {
            Stage::Answered(answer) => {
                let answer = serde_json::from_str(answer).ok()?;
                self.effect = None;
                Some((kind, RawOutcome::Answered(answer)))
            }
            Stage::Ready => {
                row.stage = Stage::Exhausted;
                Some((kind, RawOutcome::Exhausted { attempts: 8 }))
            }
            Stage::Exhausted => None,
        }
    }
}

impl Life {
    pub(crate) fn is_at_rest(&self) -> bool {
        self.seats.iter().all(|seat| {
            let busy = seat
                .effect
                .as_ref()
                .is_some_and(|row| row.stage != Stage::Exhausted);
            let read = seat.reading.iter().zip(&self.logs);
            let mut read = read.map(|(cursor, log)| cursor.next == log.len() && cursor.held_back.is_none());
            !busy && seat.timers.is_empty() && read.all(|read| read)
        })
    }

    /// Forgets what makes no difference any more, so that it makes no states either.
    pub(crate) fn tidy(&mut self, parts: &[Arc<dyn Part>]) {
        for (seat, part) in self.seats.iter_mut().zip(parts) {
            for (cursor, log) in seat.reading.iter_mut().zip(&self.logs) {
                while log
                    .get(cursor.next)
                    .is_some_and(|entry| !part.hears(&entry.record))
                {
                    cursor.next += 1;
                }
            }
            if self.left.late_timers == 0 {
                seat.cancelled_timers.clear();
            }
        }
    }
}

/// A command, as the input of whichever participant takes it.
pub(crate) type Given = Box<dyn Any + Send + Sync>;
