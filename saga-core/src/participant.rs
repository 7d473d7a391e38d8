//! A participant of a saga: a pure function from (state, input) to (state, outputs).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::input::{At, Inputs};
use crate::output::Outputs;
use crate::steps::Step;
use crate::view::View;

/// What a saga or a shared row is found by. Its text is what stands in the engine's tables and in Kafka's
/// keys, so `Display` and `FromStr` are each other's inverse.
pub trait Key: Clone + Ord + Hash + Debug + Display + FromStr + Send + Sync + 'static {}
impl<T: Clone + Ord + Hash + Debug + Display + FromStr + Send + Sync + 'static> Key for T {}

/// A service's part in a saga. The idea of `decide` is Chassaing's decider; that it is handed the locked
/// shared rows as well is ours.
///
/// The value itself is policy (limits, deadlines): the same value runs in production, in the model checker,
/// in tests and in replays. Whatever else `decide` needs comes with its arguments: it reads no clock, draws
/// no random number and does no I/O. Match on `(state, input)` without a catch-all arm, so that a new event
/// does not compile until each state has an answer.
pub trait Participant: Debug + Send + Sync + 'static {
    /// Stable name: consumer group, namespace of derived ids, label of metrics.
    const NAME: &'static str;
    /// What happens on which input, declared beside the code with [`steps!`](crate::steps!).
    const STEPS: &'static [Step];

    /// What a saga is found by.
    type Key: Key;
    /// What this participant knows of one saga. `Default` is a saga of which nothing was heard. No instants.
    type State: Default + Clone + Eq + Hash + Debug + Send + Sync + 'static;
    /// What a shared row is found by; [`Nothing`] if there are none.
    type SharedKey: Key;
    /// A row that several sagas touch, such as the stock on a shelf.
    type Shared: Clone + Eq + Hash + Debug + Send + Sync + 'static;
    /// What it reacts to.
    type Input: Inputs;
    /// What it puts out.
    type Output: Outputs;
    /// What the caller of a command is told. Stored under its idempotency key.
    type Reply: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static;
    /// Why a command was refused. A refusal changes nothing and is not stored: the same key may be tried again.
    type Refusal: Clone + Debug + Display + Send + Sync + 'static;

    /// The saga that an input belongs to; `None` if it touches shared rows only.
    fn key(&self, input: &Self::Input) -> Option<Self::Key>;

    /// The shared rows that `decide` may change. They are locked until the commit, so whoever touches the same row
    /// waits.
    fn touches(&self, state: &Self::State, input: &Self::Input) -> BTreeSet<Self::SharedKey> {
        let _ = (state, input);
        BTreeSet::new()
    }

    /// The shared rows that `decide` only looks at, such as a price. Nobody waits for them, and they may change before
    /// the commit: so nothing may depend on their staying as they are.
    fn reads(&self, state: &Self::State, input: &Self::Input) -> BTreeSet<Self::SharedKey> {
        let _ = (state, input);
        BTreeSet::new()
    }

    /// The decision.
    ///
    /// # Errors
    /// [`Fault`]: a row is missing (the shell loads it and asks again), or the input cannot be: its key is
    /// parked. A business refusal is neither; it is an event, or a refused command.
    fn decide(
        &self,
        state: Self::State,
        shared: &mut View<'_, Self::SharedKey, Self::Shared>,
        input: At<Self::Input>,
    ) -> Result<Decision<Self>, Fault>;

    /// Whether the saga needs no more attention in this state. What ended is pruned after its retention.
    fn is_ended(&self, state: &Self::State) -> bool;
}

/// Key of a participant without shared rows: it has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nothing {}

/// What `decide` answers.
pub struct Decision<P: Participant + ?Sized> {
    /// The new state.
    pub state: P::State,
    /// What is put out, in this order.
    pub outputs: Vec<P::Output>,
    /// For a command: what its caller is told.
    pub reply: Option<Result<P::Reply, P::Refusal>>,
}

/// Why there is no decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A shared row was asked for that neither `touches` nor `reads` named or that this batch did not load, or one was
    /// to be written that is not locked.
    #[error("a shared row was not loaded")]
    NotLoaded,
    /// This input cannot come in this state, or its numbers cannot be. The key is parked with this reason.
    #[error("{0}")]
    Impossible(Cow<'static, str>),
}

impl Fault {
    /// An input that cannot be; `why` is what an operator reads.
    pub fn impossible(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Impossible(why.into())
    }
}

impl<P: Participant> Decision<P> {
    /// Goes to `state`.
    pub fn to(state: P::State) -> Self {
        Self {
            state,
            outputs: Vec::new(),
            reply: None,
        }
    }

    /// Stays in `state`: the input was seen before, comes late, or is news that this state has no use for.
    pub fn ignore(state: P::State) -> Self {
        Self::to(state)
    }

    /// Refuses a command. Nothing is stored, so `state` must be the one that came.
    pub fn refuse(state: P::State, refusal: P::Refusal) -> Self {
        Self {
            state,
            outputs: Vec::new(),
            reply: Some(Err(refusal)),
        }
    }

    /// Puts out one thing more.
    #[must_use]
    pub fn emit(mut self, output: P::Output) -> Self {
        self.outputs.push(output);
        self
    }

    /// Tells the caller.
    #[must_use]
    pub fn reply(mut self, reply: P::Reply) -> Self {
        self.reply = Some(Ok(reply));
        self
    }
}

impl<P: Participant> Debug for Decision<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decision")
            .field("state", &self.state)
            .field("outputs", &self.outputs)
            .field("reply", &self.reply)
            .finish()
    }
}

impl Display for Nothing {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl FromStr for Nothing {
    type Err = std::convert::Infallible;

    /// # Panics
    /// Always: there is no row without shared rows, so nobody has its key.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        unreachable!("a participant without shared rows has no row '{text}'")
    }
}
