//! Product: the catalogue. What is for sale, and at what price.
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
/// Products in PostgreSQL.
pub mod store;

pub use config::Config;
pub use service::{Running, run_until_stopped};
