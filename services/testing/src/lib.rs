//! What the tests of the services share. Each test has a [`World`]: a database of its own, with the roles of a
//! real installation, and topics of its own, on a PostgreSQL and a Kafka that all tests share.
//!
//! A service under test is the real one, built from an environment. The relay is missing: events come from
//! [`World::send`], and what the service publishes is looked up in its outbox, with [`World::published`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// A database with its roles.
mod database;
/// Topics, and events on them.
mod events;
/// Whether every statement fits the tables and the rights of its role.
mod statements;
/// All of it, for one test.
mod world;

pub use database::Database;
pub use statements::prepare;
pub use world::{PATIENCE, World, until, within};
