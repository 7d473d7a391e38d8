//! What a participant reacts to: events, commands, timers, and results of its effects.

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::effect::RawOutcome;
use crate::event::DecodeError;

/// One enum per participant, one variant per thing it reacts to. Derive it; the variants say what they are:
///
/// ```ignore
/// #[derive(Clone, Debug, Inputs)]
/// pub enum In {
///     #[event]   Created(order::Created),
///     #[command] Receive(ReceiveStock),
///     #[timer]   Deadline,
///     #[result]  Charged(Outcome<Charge>),
/// }
/// ```
///
/// By hand it is a constant table and three readers that match on a name.
pub trait Inputs: Clone + Debug + Send + Sync + 'static {
    /// One line per variant, in their order.
    const SPEC: &'static [InputSpec];

    /// The variant's line in [`Self::SPEC`].
    fn spec(&self) -> &'static InputSpec;

    /// Reads an event. `None`: a type that this participant has no variant for, to be ignored.
    ///
    /// # Errors
    /// [`DecodeError`]: the type is known, but not this version or payload.
    fn from_event(r#type: &str, version: u32, data: &[u8]) -> Result<Option<Self>, DecodeError>;

    /// The input of a timer that fired. `None`: no build of today sets such a timer.
    fn from_timer(name: &str) -> Option<Self>;

    /// Reads the outcome of an effect. `None`: an effect of a kind that no build of today has.
    ///
    /// # Errors
    /// [`DecodeError`] if the answer is not of today's shape.
    fn from_result(kind: &str, outcome: &RawOutcome) -> Result<Option<Self>, DecodeError>;

    /// Whether it is the outcome of an effect that got no definite answer. The effect stays visible to operators.
    fn is_exhausted(&self) -> bool {
        false
    }
}

/// What one variant of an input enum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputSpec {
    /// The variant's name in Rust, as `steps!` uses it.
    pub variant: &'static str,
    /// Wire name: `order.created`, `receive`, `deadline`, `charge`.
    pub name: &'static str,
    /// Where it comes from.
    pub kind: InputKind,
}

/// Where an input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// From Kafka.
    Event {
        /// Topic without prefix.
        topic: &'static str,
        /// Newest version that is read.
        version: u32,
        /// What its key is.
        key: &'static str,
    },
    /// From a caller, over gRPC or a webhook.
    Command,
    /// From a deadline that fired.
    Timer,
    /// From the executor of effects.
    Result,
}

/// An input and what the shell knows of it, so that `decide` needs no clock.
#[derive(Clone, Debug)]
pub struct At<I> {
    /// The input.
    pub input: I,
    /// Id of the input: what everything that comes of it is derived from.
    pub id: Uuid,
    /// When it is decided. The same batch has the same instant.
    pub now: DateTime<Utc>,
}

/// The topics of an input enum, each once, in alphabetical order.
pub fn topics<I: Inputs>() -> Vec<&'static str> {
    let mut topics: Vec<_> = I::SPEC
        .iter()
        .filter_map(|spec| match spec.kind {
            InputKind::Event { topic, .. } => Some(topic),
            InputKind::Command | InputKind::Timer | InputKind::Result => None,
        })
        .collect();
    topics.sort_unstable();
    topics.dedup();
    topics
}
