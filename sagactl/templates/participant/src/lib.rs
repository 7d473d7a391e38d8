//! Newcomer's part in a saga.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// What it is told by its environment.
pub mod config;
/// What it hears, and what it tells.
pub mod events;
/// The decisions.
pub mod participant;
/// Puts the parts together.
pub mod service;
/// Reservations in PostgreSQL.
pub mod store;

pub use config::Config;
pub use service::{Running, run_until_stopped};
