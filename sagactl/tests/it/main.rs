//! `sagactl` against a real PostgreSQL and a real Apache Kafka.
#![allow(clippy::unwrap_used)]

/// A place of its own for each test.
mod place;

/// The program, as people and scripts call it.
mod program;

/// Topics, written to files.
mod recording;

/// Databases, roles and rights.
mod migrate;

/// Topics and their settings, and what is in them.
mod topics;

/// Operators' verbs.
mod ops;

/// What has yet to be published, and what cannot be.
mod outbox;

/// Sagas from their topics.
mod saga;

/// A new participant, compiled and tested.
mod newcomer;

/// Wrong calls.
mod usage;
