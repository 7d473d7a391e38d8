//! Order: takes orders and follows each to its end.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// What it is told by its environment.
pub mod config;
/// The API.
pub mod grpc;
/// The decisions.
pub mod participant;
/// Puts the parts together.
pub mod service;
/// Orders and prices in PostgreSQL.
pub mod store;
/// Orders that somebody watches.
pub mod watch;

/// How many orders are in flight, as a metric.
mod in_flight;

pub use config::Config;
pub use service::{Running, run_until_stopped};
