//! What proofs with real processes are played on: programs that can be killed, databases and topics of their own, and
//! witnesses of everything that was committed.
//!
//! Nothing here sleeps and hopes: what is waited for is a condition, with a bound and a message that says how far it came.

/// Waiting by condition, with a bound.
pub mod wait;

/// The programs of a workspace, built with their fault points.
pub mod programs;

/// One running program: to start, kill, freeze and wake.
pub mod program;

/// A note of every outbox row that was committed.
pub mod witness;

/// The topics: made, and read from their beginning.
pub mod topics;

/// What has to be true of events.
pub mod events;

/// The databases, and whether a saga is at rest in all of them.
pub mod outboxes;

/// What a system is made of.
mod parts;

/// All of it, at work.
mod system;

pub use outboxes::Outboxes;
pub use parts::{Part, Parts};
pub use program::Program;
pub use system::{LEASE, RELAY, System};
