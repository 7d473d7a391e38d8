//! PostgreSQL, Kafka and Redis on this machine, without Docker.
//!
//! For tests: [`TestStack`]. For people: the program `local-stack`, which `just up` calls.
//!
//! Nothing here knows a client library of a server, so that it builds in seconds: it is built before everything else.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// What tests use.
mod test_stack;

/// One PostgreSQL server.
mod postgres;

/// One Kafka broker.
mod kafka;

/// A process that outlives the program which starts it.
mod daemon;

/// Cleans up after a test process, however it ends.
mod guardian;

/// Questions that only a server which works can answer.
pub mod probe;

/// Waiting by condition, with a bound and visible progress.
mod wait;

/// Fetching the servers' programs.
mod artifacts;

/// Who PostgreSQL runs as, and what that account can reach.
mod account;

/// Places in a checkout.
mod checkout;

/// Ports that nobody listens on.
mod ports;

/// Generated passwords.
mod secrets;

/// What can go wrong.
mod error;

pub use daemon::Daemon;
pub use error::StackError;
pub use kafka::{Kafka, KafkaSettings};
pub use postgres::{Postgres, PostgresSettings};
pub use test_stack::{Addresses, KAFKA_VARIABLE, POSTGRES_VARIABLE, TestStack, TestStackOptions};
