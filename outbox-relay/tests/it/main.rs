//! The relay against a real PostgreSQL and a real Kafka.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub
)]

/// Databases, topics and relays of a test.
mod support;

/// What consumers see, and whether it is what was committed.
mod checker;

/// What the checker of the soak counts, which has no tests of its own.
#[path = "../soak/versions.rs"]
mod versions;

/// Writers of every bad habit.
mod writers;

/// What an event looks like in Kafka.
mod wire;

/// Nothing lost, nothing out of order, whoever writes and whatever crashes.
mod guarantees;

/// One owner at a time.
mod leases;

/// Several outboxes, several processes.
mod spread;

/// Many outboxes with a backlog at the same time.
mod turns;

/// Several windows on their way at once.
mod ring;

/// Events that cannot be sent.
mod parked;

/// Parked events that are many.
mod replays;

/// Events that were written by somebody who has not heard so.
mod there;

/// Each event seen once, by whoever reads what is committed.
mod transactions;

/// Behind a pooler.
mod pooled;

/// The same table, read by somebody else.
mod debezium;

/// Brokers and databases that go away.
mod outages;

/// Servers that encrypt and want to know who we are.
mod secure;

/// What the program says of them.
mod program;

/// Verbs that do their work and end.
mod verbs;

/// Topics that get more partitions.
mod growth;

/// Leaves that are emptied.
mod rotation;

/// Other servers, other histories.
mod histories;

/// Backups, as people take them.
mod restores;

/// Statements, roles, migrations.
mod database;
