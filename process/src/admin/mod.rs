//! | path | answer |
//! |---|---|
//! | `/live` | 200 as long as the process can answer at all |
//! | `/ready` | 200 if every required check is up and the process is not stopping, else 503; JSON that names each check |
//! | `/metrics` | Prometheus text |
//!
//! It has no login, so it belongs on an address that only the cluster can reach.

/// Named checks, and what they mean for readiness.
mod health;

/// Memory, processor time and open files of this process.
mod process_metrics;

/// The port.
mod server;

pub use health::{Check, Health, Report, Status};
pub use server::Admin;
