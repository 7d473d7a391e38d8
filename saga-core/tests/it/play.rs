use std::fmt::Debug;
use std::marker::PhantomData;

use saga_core::{At, Decision, Fault, Inputs, Nothing, Outputs, Participant, Step, View};

/// A participant as a table: states are numbers, 0 is a saga of which nothing was heard.
pub(crate) trait Play: Debug + Send + Sync + 'static {
    const NAME: &'static str;
    const STEPS: &'static [Step];
    type In: Inputs;
    type Out: Outputs;

    /// Where it goes and what it puts out; `None`: it ignores it.
    fn play(at: u8, input: &Self::In) -> Option<(u8, Vec<Self::Out>)>;

    fn ended(at: u8) -> bool;

    /// Whether an input belongs to a saga.
    fn is_of_a_saga(_: &Self::In) -> bool {
        true
    }
}

/// A play as a participant.
#[derive(Debug)]
pub(crate) struct Of<P>(PhantomData<P>);

impl<P> Default for Of<P> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<P: Play> Participant for Of<P> {
    const NAME: &'static str = P::NAME;
    const STEPS: &'static [Step] = P::STEPS;
    type Key = String;
    type State = u8;
    type SharedKey = Nothing;
    type Shared = ();
    type Input = P::In;
    type Output = P::Out;
    type Reply = ();
    type Refusal = &'static str;

    fn key(&self, input: &P::In) -> Option<String> {
        P::is_of_a_saga(input).then(|| "l-1".to_owned())
    }

    fn decide(
        &self,
        state: u8,
        _: &mut View<'_, Nothing, ()>,
        at: At<P::In>,
    ) -> Result<Decision<Self>, Fault> {
        let (state, outputs) = P::play(state, &at.input).unwrap_or((state, Vec::new()));
        Ok(Decision {
            state,
            outputs,
            reply: None,
        })
    }

    fn is_ended(&self, state: &u8) -> bool {
        P::ended(*state)
    }
}
