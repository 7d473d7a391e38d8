//! The message relay: publishes a PostgreSQL outbox to Apache Kafka.
//!
//! * Every committed event is published at least once, whatever crashes.
//! * Events of one aggregate are published in the order of their transactions, however long one of them
//!   was running.
//! * An event that goes out twice has the same position both times, so that a consumer recognises it.
//! * The outbox never holds a dead tuple, and no replication slot holds up the server's log.
//!
//! It reads in *windows*: what snapshot B sees and snapshot A did not. A window's bounds are committed
//! before anything of it is published, which is what makes positions repeatable. One relay at a time owns
//! an outbox, by a lease with a fence number that each write checks.
//!
//! A [`Relay`] can run inside a service or in the process `outbox-relay`, which serves one or many outboxes.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// What a relay is made of.
mod options;

/// The servers of its database.
mod hosts;

/// The relay of one outbox.
mod relay;

/// How a relay is.
mod state;

/// The names of its metrics.
pub mod metrics;

/// The outbox's tables.
pub mod migrate;

/// How an outbox is, for an operator.
pub mod status;

/// Looks whether a relay could work.
pub mod preflight;

/// More partitions for a topic, without its keys losing their order.
pub mod growth;

/// Points at which a test makes it fail.
mod fault;
mod idle;

/// Windows on their way.
mod ring;

/// How outboxes are spread over processes.
mod spread;

/// Who may publish much at a time, of the outboxes of a process.
mod turns;

/// One relay's time with the lease.
mod tenure;

/// Renews the lease.
mod keeper;

/// Publishes windows.
mod publisher;

/// What is known of the topics that events go to.
mod known_topics;

/// Keys and topics whose events are set aside.
mod parked;

/// Hands pieces of windows to the producer.
mod sending;

/// Tasks that end with their owner.
mod task;

/// Spans.
mod trace;

/// The database's side.
mod outbox;

/// The broker's side.
mod kafka;

/// Waits that grow.
mod backoff;

pub use hosts::{BadDatabaseUrl, Hosts};
pub use kafka::refusal::Unsendable;
pub use options::{BadSourceName, Options, SourceName};
pub use outbox::error::OutboxError;
pub use relay::{Handle, Relay};
pub use spread::Instance;
pub use state::{Health, Phase, Stopped};

/// Every statement that the relay runs, by name, for tests that PREPARE them.
#[doc(hidden)]
pub use outbox::sql::ALL as STATEMENTS;
