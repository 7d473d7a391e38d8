//! Payment: charges an order, or opens a page for it, and gives the money back if the order ends otherwise.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// What it is told by its environment.
pub mod config;
/// The API.
pub mod grpc;
/// The decisions.
pub mod participant;
/// Calls to the payment provider.
pub mod provider;
/// Puts the parts together.
pub mod service;
/// The table of payments.
pub mod store;
/// What the provider reports, unasked.
pub mod webhook;

pub use config::Config;
pub use service::{Running, run_until_stopped};
