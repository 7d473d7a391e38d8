//! What the failure tests are made of: the whole shop as real processes, customers that do what proper clients do, and
//! an accountant who believes nobody.
//!
//! A test starts a [`System`], lets a [`Customer`] order from it, breaks something, and has the
//! [`Accountant`] look at every database, every topic and the provider's books afterwards. Nothing here sleeps
//! and hopes: what is waited for is a condition, with a bound and a message that says how far it came.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

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

/// A program's clock, which jumps.
pub mod clock;

/// What has to be true of goods and money.
pub mod books;

/// Looks at everything and says what does not add up.
pub mod accountant;

/// Kills at random moments that a seed repeats.
pub mod nemesis;

/// Every step of the order saga against every fault, with real processes.
pub mod certificate;

/// Everything at once, for as long as one likes, and an accountant at the end.
pub mod chaos;

pub use accountant::{Accountant, Audit};
pub use customer::Customer;
pub use provider::Provider;
pub use saga_proof::stage::wait::until;
pub use saga_proof::stage::{Program, events, program, topics, wait, witness};
pub use system::{System, SystemOptions};
