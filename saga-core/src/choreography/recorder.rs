//! Watches participants while something else runs them.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

use uuid::Uuid;

use super::observed::{Move, Observed, Place, Put};
use super::watched::Watched;
use crate::input::{At, InputKind};
use crate::output::{Emission, OutputKind};
use crate::participant::{Decision, Participant};
use crate::testkit::noon;
use crate::view::Rows;
use crate::{Inputs, Outputs, Timer};

/// Notes what participants do, in a model checker, in tests or in a walk of its own, as [`Observed`]. Clones write
/// into the same notes.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    notes: Arc<RwLock<Notes>>,
}

/// A walk found more states than it was allowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{participant} has more than {limit} states under these inputs; does one of them count without a bound?"
)]
pub struct TooManyStates {
    /// Whose.
    pub participant: &'static str,
    /// How many were allowed.
    pub limit: usize,
}

/// A saga's state, and the shared rows.
type World<P> = (
    <P as Participant>::State,
    BTreeMap<<P as Participant>::SharedKey, <P as Participant>::Shared>,
);

#[derive(Debug, Default)]
struct Notes {
    /// Hashes of decisions that are noted: most are seen many times.
    known: HashSet<u64>,
    observed: Observed,
}

impl Recorder {
    /// The same participant, watched: it can take its place in a test or in a model.
    pub fn watch<P: Participant>(&self, participant: P) -> Watched<P> {
        Watched::new(participant, self.clone())
    }

    /// Notes a decision: for a harness that calls `decide` itself. What was refused is not noted, since it changes
    /// nothing.
    pub fn note<P: Participant>(
        &self,
        participant: &P,
        before: &P::State,
        input: &P::Input,
        decision: &Decision<P>,
    ) {
        if matches!(decision.reply, Some(Err(_))) {
            return;
        }
        let step = Move {
            from: hash(before),
            on: input.spec().variant,
            exhausted: input.is_exhausted(),
            puts: decision.outputs.iter().map(put).collect(),
            to: hash(&decision.state),
        };
        let key = hash(&(P::NAME, step.from, step.on, step.exhausted, &step.puts, step.to));
        if self.read(|notes| notes.known.contains(&key)) {
            return;
        }
        let saga = participant.key(input);
        let of_a_saga = saga.is_some() || matches!(input.spec().kind, InputKind::Timer | InputKind::Result);
        let places = [before, &decision.state].map(|state| (hash(state), place(participant, state)));
        let astray = astray::<P>(saga.as_ref(), &decision.outputs);
        let mut notes = self.notes.write().unwrap_or_else(PoisonError::into_inner);
        notes.known.insert(key);
        let course = notes.observed.parts.entry(P::NAME).or_default();
        *course.heard.entry(step.on).or_default() |= of_a_saga;
        course.astray.extend(astray);
        if step.from != step.to || !step.puts.is_empty() {
            course.states.extend(places);
            course.moves.insert(step);
        }
    }

    /// Walks a participant alone: each of `inputs` in every state that they lead to, beginning with a saga of which
    /// nothing was heard. What cannot be, and what is refused, is passed over. It is for participants of which the
    /// order of inputs does not matter, such as a catalogue; what a saga does under faults is the business of a model.
    ///
    /// # Errors
    /// [`TooManyStates`].
    pub fn walk<P: Participant>(
        &self,
        participant: &P,
        shared: impl IntoIterator<Item = (P::SharedKey, P::Shared)>,
        inputs: &[P::Input],
        limit: usize,
    ) -> Result<(), TooManyStates> {
        let start: World<P> = (P::State::default(), shared.into_iter().collect());
        let mut seen = HashSet::from([hash(&start)]);
        let mut waiting = vec![start];
        while let Some(world) = waiting.pop() {
            for input in inputs {
                let Some(next) = self.step(participant, &world, input) else {
                    continue;
                };
                if seen.insert(hash(&next)) {
                    waiting.push(next);
                }
                if seen.len() > limit {
                    let participant = P::NAME;
                    return Err(TooManyStates { participant, limit });
                }
            }
        }
        Ok(())
    }

    /// What was noted until now.
    pub fn observed(&self) -> Observed {
        self.read(|notes| notes.observed.clone())
    }

    fn read<T>(&self, what: impl FnOnce(&Notes) -> T) -> T {
        what(&self.notes.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn step<P: Participant>(
        &self,
        participant: &P,
        (state, there): &World<P>,
        input: &P::Input,
    ) -> Option<World<P>> {
        let find = |key: P::SharedKey| (key.clone(), there.get(&key).cloned());
        let touched = participant.touches(state, input).into_iter().map(find);
        let mut rows = Rows::new(touched).reading(participant.reads(state, input).into_iter().map(find));
        let mut view = rows.view();
        let at = At {
            input: input.clone(),
            id: Uuid::nil(),
            now: noon(),
        };
        let decision = participant.decide(state.clone(), &mut view, at).ok()?;
        view.keep();
        self.note(participant, state, input, &decision);
        let mut shared = there.clone();
        shared.extend(rows.changed());
        Some((decision.state, shared))
    }
}

fn put<O: Outputs>(output: &O) -> Put {
    let spec = output.spec();
    let cancels = spec.kind == OutputKind::Timer
        && matches!(
            output.emission(),
            Ok(Emission::Timer {
                timer: Timer::Cancel,
                ..
            })
        );
    Put {
        output: spec.variant,
        cancels,
    }
}

fn place<P: Participant>(participant: &P, state: &P::State) -> Place {
    let mut text = format!("{state:?}");
    if let Some((end, _)) = text.char_indices().nth(160) {
        text.replace_range(end.., "…");
    }
    Place {
        text,
        ended: participant.is_ended(state),
        untouched: *state == P::State::default(),
    }
}

/// The events that go out under another key than the saga's.
fn astray<P: Participant>(saga: Option<&P::Key>, outputs: &[P::Output]) -> BTreeSet<&'static str> {
    let Some(saga) = saga.map(ToString::to_string) else {
        return BTreeSet::new();
    };
    outputs
        .iter()
        .filter(|output| matches!(output.emission(), Ok(Emission::Event { key, .. }) if key != saga))
        .map(|output| output.spec().variant)
        .collect()
}

/// The same in every run: the hasher has no seed.
fn hash<T: Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
