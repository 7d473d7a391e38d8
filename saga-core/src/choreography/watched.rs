use std::collections::BTreeSet;

use super::recorder::Recorder;
use crate::input::At;
use crate::participant::{Decision, Fault, Participant};
use crate::steps::Step;
use crate::view::View;

/// A participant whose decisions are noted. It is one itself, so whatever runs participants runs it.
#[derive(Clone, Debug)]
pub struct Watched<P> {
    participant: P,
    recorder: Recorder,
}

impl<P> Watched<P> {
    pub(super) fn new(participant: P, recorder: Recorder) -> Self {
        Self {
            participant,
            recorder,
        }
    }
}

impl<P: Participant> Participant for Watched<P> {
    const NAME: &'static str = P::NAME;
    const STEPS: &'static [Step] = P::STEPS;
    type Key = P::Key;
    type State = P::State;
    type SharedKey = P::SharedKey;
    type Shared = P::Shared;
    type Input = P::Input;
    type Output = P::Output;
    type Reply = P::Reply;
    type Refusal = P::Refusal;

    fn key(&self, input: &P::Input) -> Option<P::Key> {
        self.participant.key(input)
    }

    fn touches(&self, state: &P::State, input: &P::Input) -> BTreeSet<P::SharedKey> {
        self.participant.touches(state, input)
    }

    fn reads(&self, state: &P::State, input: &P::Input) -> BTreeSet<P::SharedKey> {
        self.participant.reads(state, input)
    }

    fn decide(
        &self,
        state: P::State,
        shared: &mut View<'_, P::SharedKey, P::Shared>,
        at: At<P::Input>,
    ) -> Result<Decision<Self>, Fault> {
        let (before, input) = (state.clone(), at.input.clone());
        let decision = self.participant.decide(state, shared, at)?;
        self.recorder.note(&self.participant, &before, &input, &decision);
        Ok(Decision {
            state: decision.state,
            outputs: decision.outputs,
            reply: decision.reply,
        })
    }

    fn is_ended(&self, state: &P::State) -> bool {
        self.participant.is_ended(state)
    }
}
