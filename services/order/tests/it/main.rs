//! The order service on a real PostgreSQL and a real Apache Kafka, driven through gRPC and events.
#![allow(clippy::unwrap_used)]

/// A service of its own for each test.
mod harness;

/// What callers cannot do, and what is left of their trying.
mod bad_input;
/// From pending to its end.
mod course;
/// Placing orders, once.
mod placing;
/// Reading orders.
mod reading;
/// Rows, locks and rights.
mod store;
/// Watching an order until its end.
mod watching;
