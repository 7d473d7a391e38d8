//! Runs [`saga_core`]'s participants on PostgreSQL and Apache Kafka.
//!
//! A [`Service`] has a database, and a participant with its [`Store`]. It consumes the participant's topics
//! in batches, takes its commands with group commit, performs its effects and fires its timers; every one of
//! these is the same transaction: lock, decide, save, append to the outbox, commit. The events are published
//! by `outbox-relay`.
//!
//! Who only wants the outbox uses [`outbox::append`] in a transaction of his own, and nothing else of this crate.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// Commands with group commit and idempotency keys.
pub mod command;
/// What every store has to do, as a check.
pub mod conformance;
/// The consumer of a participant.
pub mod consumer;
/// Connections to PostgreSQL.
pub mod database;
/// A store of JSON documents, for whoever has no wishes about columns.
pub mod documents;
/// Relays that are told of commits.
pub mod doorbell;
/// Effects, performed after the commit that decided them.
pub mod effect;
/// What can go wrong, and what is done then.
pub mod error;
/// The gRPC server that every service has.
pub mod grpc;
/// Names of the engine's metrics.
pub mod metrics;
/// The engine's own tables.
pub mod migrate;
/// The transactional outbox, for any transaction.
pub mod outbox;
/// What is kept for how long.
pub mod prune;
/// A Kafka record, owned.
pub mod record;
/// Yesterday's events against today's build.
pub mod replay;
/// A service: participants on one database, run until it is told to stop.
pub mod service;
/// How a participant's state gets into its service's own tables.
pub mod store;

/// The transaction of a batch.
mod engine;
/// One row per message, for foreign producers.
mod inbox;
/// What operators have paused.
mod pause;
/// Keys that are parked, and their replay.
mod quarantine;
/// Deadlines that are inputs when they fire.
mod timer;
/// One trace per saga.
mod trace;

pub use command::{Answer, CommandError, Commands};
pub use consumer::Options as ConsumerOptions;
pub use documents::Documents;
pub use effect::{Call, Failure, Perform};
pub use engine::Idempotency;
pub use prune::Retention;
pub use service::{Handle, Member, Service, ServiceConfig};
pub use store::{Saved, Store};

/// Every statement of the engine that runs as the service's own role, by module and name: for the test that
/// prepares each of them on a migrated database.
pub fn statements() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    [
        ("outbox", outbox::STATEMENTS),
        ("offsets", engine::offsets::STATEMENTS),
        ("ledger", engine::LEDGER_STATEMENTS),
        ("idempotency", command::idempotency::STATEMENTS),
        ("inbox", inbox::STATEMENTS),
        ("quarantine", quarantine::STATEMENTS),
        ("replay", quarantine::replay::STATEMENTS),
        ("effect", effect::STATEMENTS),
        ("timer", timer::STATEMENTS),
        ("pause", pause::STATEMENTS),
        ("prune", prune::STATEMENTS),
        ("migrate", migrate::STATEMENTS),
    ]
    .into_iter()
    .flat_map(|(module, statements)| statements.iter().map(move |(name, sql)| (module, *name, *sql)))
}
