//! What the failure tests are made of: the whole shop as real processes, customers that do what proper clients do, and
//! an accountant who believes nobody.
//!
//! A test starts a [`System`], lets a [`Customer`] order from it, breaks something, and has the
//! [`Accountant`] look at every database, every topic and the provider's books afterwards. Nothing here sleeps
//! and hopes: what is waited for is a condition, with a bound and a message that says how far it came.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// Waiting by condition, with a bound.
pub mod wait;

/// The programs under test, built once with their fault points.
mod programs;

/// One running program: to start, kill, freeze and wake.
pub mod program;

/// What each program finds in its environment.
mod environment;

/// The shop: databases, topics and processes of its own.
pub mod system;

/// Who orders.
pub mod customer;

/// Many who order, and what they wish.
pub mod load;

/// The payment provider as its own staff sees it.
pub mod provider;

/// A note of every outbox row that was committed.
pub mod witness;

/// The topics, read from their beginning.
pub mod topics;

/// What has to be true of events.
pub mod events;

/// What has to be true of goods and money.
pub mod books;

/// Looks at everything and says what does not add up.
pub mod accountant;

/// Kills at random moments that a seed repeats.
pub mod nemesis;

pub use accountant::{Accountant, Audit};
pub use customer::Customer;
pub use program::Program;
pub use provider::Provider;
pub use system::{System, SystemOptions};
pub use wait::until;
