//! What a decision puts out: events, effects, timers.

use std::fmt::Debug;
use std::time::Duration;

use crate::effect::Role;
use crate::retry::RetryPolicy;

/// One enum per participant, one variant per thing it can put out. Derive it:
///
/// ```ignore
/// #[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
/// pub enum Out {
///     #[event]  Reserved(stock::Reserved),
///     #[effect] Charge(Charge),
///     #[timer]  Deadline(Timer),
/// }
/// ```
pub trait Outputs: Clone + Debug + Send + Sync + 'static {
    /// One line per variant, in their order.
    const SPEC: &'static [OutputSpec];

    /// The variant's line in [`Self::SPEC`].
    fn spec(&self) -> &'static OutputSpec;

    /// Encodes it for the shell.
    ///
    /// # Errors
    /// If the value cannot be written as JSON (a map with keys that are no text).
    fn emission(&self) -> Result<Emission, serde_json::Error>;
}

/// What one variant of an output enum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// The variant's name in Rust, as `steps!` uses it.
    pub variant: &'static str,
    /// Wire name: `stock.reserved`, `charge`, `deadline`.
    pub name: &'static str,
    /// Where it goes.
    pub kind: OutputKind,
}

/// Where an output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// To the outbox.
    Event {
        /// Topic without prefix.
        topic: &'static str,
        /// Version that is written.
        version: u32,
        /// What its key is.
        key: &'static str,
        /// Whether it says no.
        refuses: bool,
    },
    /// To the effect table.
    Effect {
        /// How often it is tried.
        policy: RetryPolicy,
        /// What becomes of the saga if it does not succeed.
        role: Role,
    },
    /// To the timer table.
    Timer,
}

/// An output, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emission {
    /// To be appended to the outbox.
    Event {
        /// Topic without prefix.
        topic: &'static str,
        /// Wire name.
        name: &'static str,
        /// Name and version.
        schema: &'static str,
        /// Kafka key.
        key: String,
        /// JSON.
        data: Vec<u8>,
    },
    /// To be performed after the commit.
    Effect {
        /// Which effect.
        kind: &'static str,
        /// JSON.
        data: Vec<u8>,
    },
    /// To be set or cancelled.
    Timer {
        /// Which timer; a saga has at most one of each name, and setting it again moves it.
        name: &'static str,
        /// To when.
        timer: Timer,
    },
}

/// What to do with a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// Fire this long after the instant of the input.
    In(Duration),
    /// Do not fire any more.
    Cancel,
}
