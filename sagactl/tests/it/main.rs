//! `sagactl` against a real PostgreSQL and a real Apache Kafka.
#![allow(clippy::unwrap_used)]

/// A place of its own for each test.
mod place;

/// Databases, roles and rights.
mod migrate;

/// Topics and their settings.
mod topics;
