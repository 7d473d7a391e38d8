//! Pure core of a choreographed saga.
//!
//! A saga is a business transaction over several services, each of which commits on its own. Here every
//! service is a [`Participant`]: a pure function that is told of events, commands, timers and results of
//! its effects, and answers with a new state and with outputs. No clock, no broker, no database: those are
//! the business of `saga-runtime`, which feeds the same function from PostgreSQL and Kafka.
//!
//! To write one:
//! 1. derive [`Event`] for what it tells the others, and implement [`Effect`] for what it does outside;
//! 2. derive [`Inputs`] and [`Outputs`] for two enums;
//! 3. implement [`Participant`], with its [`steps!`];
//! 4. test it with the [`testkit`];
//! 5. see the whole of it, and have it checked, as a [`Choreography`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// What has to be true of a topic's records, one after another.
pub mod audit;
/// All participants of a system, drawn and checked.
pub mod choreography;
/// Calls to the outside world, as data.
pub mod effect;
/// An event as it travels.
pub mod envelope;
/// What services tell each other.
pub mod event;
/// Ids that are derived from their cause.
pub mod id;
/// What it reacts to.
pub mod input;
/// Money: integers of minor units.
pub mod money;
/// What it puts out.
pub mod output;
/// A service's part in a saga.
pub mod participant;
/// Which partition a key goes to.
pub mod partitioner;
/// Where an event stands in its outbox.
pub mod position;
/// Yesterday's events against today's build.
pub mod replay;
/// The numbers of a retry policy.
pub mod retry;
/// The declared choreography.
pub mod steps;
/// Records of a key in several partitions.
pub mod strands;
/// Given, when, then.
pub mod testkit;
/// What a topic has to be.
pub mod topic;
/// Shared rows, as one decision sees them.
pub mod view;

pub use choreography::Choreography;
pub use effect::{Effect, Outcome, RawOutcome, Role};
pub use envelope::Envelope;
pub use event::{DecodeError, Event};
pub use input::{At, InputKind, InputSpec, Inputs};
pub use money::{Currency, Money};
pub use output::{Emission, OutputKind, OutputSpec, Outputs, Timer};
pub use participant::{Decision, Fault, Key, Nothing, Participant};
pub use position::Position;
pub use retry::RetryPolicy;
pub use saga_core_macros::{Event, Inputs, Outputs};
pub use steps::Step;
pub use topic::Topic;
pub use view::{Rows, View};

#[doc(hidden)]
pub mod __private {
    pub use serde_json;
}
