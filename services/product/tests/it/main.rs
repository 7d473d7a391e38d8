//! The product service on a real PostgreSQL and a real Apache Kafka, driven through gRPC.
#![allow(clippy::unwrap_used)]

/// A service of its own for each test.
mod harness;

/// What callers can do.
mod api;
/// What callers cannot do, and what is left of their trying.
mod bad_input;
/// Rows, locks and rights.
mod store;
