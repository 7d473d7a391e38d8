//! Chaos with an accountant: a long load of orders, everything that can break breaks meanwhile, and the books are read at
//! the end.
//!
//! 1. **Schedule.** A pure function of the seed: which fault, on whom, for how long, after how many orders. It is printed.
//! 2. **Ground.** A PostgreSQL and a Kafka of its own, the whole shop, a second relay that stands by, and a TCP proxy on
//!    every line between two parties.
//! 3. **Run.** Shoppers order through gRPC; the load and the schedule wait for each other, so that the same fault comes at
//!    the same order on a machine of any speed. A watch asks meanwhile what holds at any time.
//! 4. **Audit.** When the faults are over and everything has come to rest: all databases, all topics, the provider's books.
//!
//! Memory does not grow with events beyond 16 bytes each, nor with orders beyond 50, and the audit takes minutes per million.

/// What goes wrong.
mod fault;
/// When it goes wrong.
mod schedule;

/// Servers, lines, programs.
mod ground;

/// Who makes it go wrong.
mod injector;
/// Who starts again what has ended.
mod keeper;
/// How fast orders and faults may go.
mod pace;
/// Messages that nobody can read.
mod poison;
/// Who orders.
mod shoppers;

/// What is noted in the databases themselves.
mod notes;
/// What holds at any time, and how far it is.
mod watch;

/// Whether it all adds up.
mod audit;
/// What the topics hold.
mod log;

/// The page that is written.
mod page;
/// The whole of it.
mod run;

pub use fault::{Fault, Kind};
pub use run::{Options, Outcome, run};
pub use schedule::{Planned, Schedule};
