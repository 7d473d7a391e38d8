//! What proves a choreography of your own, in less than a hundred lines of test code.
//!
//! * [`prove`]: every interleaving, the checks of the choreography and its page, in one call.
//! * [`model`]: the decisions of production under every interleaving, checked exhaustively.
//! * [`record`]: yesterday's events against today's build.
//! * [`audit`]: what the topics hold, checked against what has to be true of each saga.
//! * [`page`]: the drawn choreography, and a test that fails when it is out of date.
//! * [`certificate`]: every fault at every step, with real processes, PostgreSQL and Kafka.
//!
//! The graph, the replay and the cursors of the audit are in [`saga_core`], since production uses them too.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// What the topics hold, checked against what has to be true of each saga.
pub mod audit;
/// Every fault at every step, with real processes.
pub mod certificate;
/// Every interleaving of a choreography's decisions under faults.
pub mod model;
/// Pages that are written from the code.
pub mod page;
/// All that is checked before anything runs, in one call.
mod proof;
/// Yesterday's events against today's build.
pub mod record;
/// Real processes, databases and topics to play on.
pub mod stage;

pub use audit::Audit;
pub use model::{Faults, Model, Saga};
pub use proof::{Unproven, prove};
pub use record::Recorded;
