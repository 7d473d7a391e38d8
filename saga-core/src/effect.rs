//! Effects: calls to the outside world, as data.
//!
//! `decide` never calls anybody. It puts out an effect; the row commits with the state; an executor
//! performs it afterwards with the effect's id as the idempotency key, and its answer comes back as an
//! input. At most one effect per saga and participant is outstanding.

use std::fmt::Debug;
use std::hash::Hash;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::event::{DecodeError, decode_json};
use crate::retry::RetryPolicy;

/// Something to be done outside: charge a card, send a mail, ask what became of a charge.
///
/// ```
/// use saga_core::{Effect, RetryPolicy};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
/// struct Charge {
///     reference: String,
///     minor: i64,
/// }
///
/// #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
/// enum Charged {
///     Captured,
///     Declined { code: String },
/// }
///
/// impl Effect for Charge {
///     const KIND: &'static str = "charge";
///     const POLICY: RetryPolicy = RetryPolicy::INTERACTIVE;
///     type Answer = Charged;
/// }
/// ```
pub trait Effect: Serialize + DeserializeOwned + Clone + Debug + Eq + Hash + Send + Sync + 'static {
    /// Stable name: in the effect's row, in metrics, in `sagactl pause --effect charge`.
    const KIND: &'static str;
    /// How often it is tried before its outcome is [`Outcome::Exhausted`].
    const POLICY: RetryPolicy;
    /// What it is to its saga.
    const ROLE: Role = Role::Acts;
    /// What the other side may definitely say: yes, and each kind of no.
    type Answer: Serialize + DeserializeOwned + Clone + Debug + Eq + Hash + Send + Sync + 'static;
}

/// What an effect is to its saga: what has to follow if it does not succeed, and what has to be undone if it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Does something that the saga depends on. It may be refused, so whatever was done before it needs a way back;
    /// and if the saga turns back later, it needs one itself.
    #[default]
    Acts,
    /// Asks, and leaves nothing behind: what became of a charge.
    Asks,
    /// Tells somebody. The saga goes on whatever comes of it, and what was told stays told: a mail.
    Tells,
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", bound = "")]
pub enum Outcome<E: Effect> {
    /// A definite answer. A refusal is an answer.
    Answered(E::Answer),
    /// Tried as often as the policy allows, without a definite answer. **This is not a failure**: it may
    /// have been done. The way out is to ask. The effect stays visible to operators, who may replay it,
    /// unless the decision puts out another one in its place.
    Exhausted {
        /// Calls that were made.
        attempts: u32,
    },
}

/// An outcome of any effect as the executor hands it over: its answer is still encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawOutcome {
    /// The JSON of the effect's `Answer`.
    Answered(serde_json::Value),
    /// See [`Outcome::Exhausted`].
    Exhausted {
        /// Calls that were made.
        attempts: u32,
    },
}

/// What the derive of `Inputs` needs of an `#[result]` variant's field. Only [`Outcome`] implements it.
pub trait EffectResult: Sized {
    /// Kind of the effect.
    const KIND: &'static str;

    /// Reads the outcome.
    ///
    /// # Errors
    /// [`DecodeError`] if the answer was written by another version of the effect.
    fn decode(raw: &RawOutcome) -> Result<Self, DecodeError>;

    /// Whether there was no definite answer.
    fn is_exhausted(&self) -> bool;
}

impl<E: Effect> EffectResult for Outcome<E> {
    const KIND: &'static str = E::KIND;

    fn decode(raw: &RawOutcome) -> Result<Self, DecodeError> {
        match raw {
            RawOutcome::Answered(answer) => serde_json::from_value(answer.clone())
                .map(Outcome::Answered)
                .map_err(|source| DecodeError::payload(E::KIND, 1, source)),
            RawOutcome::Exhausted { attempts } => Ok(Outcome::Exhausted { attempts: *attempts }),
        }
    }

    fn is_exhausted(&self) -> bool {
        matches!(self, Outcome::Exhausted { .. })
    }
}

/// Reads an effect back from its row.
///
/// # Errors
/// [`DecodeError::Payload`].
pub fn decode<E: Effect>(data: &[u8]) -> Result<E, DecodeError> {
    decode_json(E::KIND, 1, data)
}
