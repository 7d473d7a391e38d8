//! Inventory: holds the stock of an order until the order is confirmed or cancelled.
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
/// Holds and shelves in PostgreSQL.
pub mod store;

pub use config::Config;
pub use service::{Running, run_until_stopped};
