//! What every process of Quadrille needs before it can do its own work.
//!
//! Configuration from the environment with every problem named at once, logs, traces and metrics, an
//! admin port, and a shutdown that is bounded. It knows nothing of databases or brokers, so that a tool
//! that needs neither does not link them.
//!
//! A service's `main` is [`run`] with three things: what it is, how it reads its configuration, what it
//! does until it is told to stop.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use quadrille_process::{Failure, Process, about, config::Env, run};
//!
//! struct Config {
//!     listen: std::net::SocketAddr,
//! }
//!
//! impl Config {
//!     fn read(env: &mut Env) -> Option<Config> {
//!         let listen = env.required("GRPC_LISTEN", "address:port of the gRPC server");
//!         Some(Config { listen: listen? })
//!     }
//! }
//!
//! async fn serve(config: Config, process: Process) -> Result<(), Failure> {
//!     tracing::info!(listen = %config.listen, "serving");
//!     process.shutdown.cancelled().await;
//!     Ok(())
//! }
//!
//! fn main() -> ExitCode {
//!     run(about!("ORDER"), Config::read, serve)
//! }
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// Configuration from the environment: all problems at once, secrets never shown.
pub mod config;

/// How to reach Apache Kafka, as plain properties for librdkafka.
pub mod kafka;

/// Logs, traces and metrics of one process, and the W3C trace context that travels between them.
pub mod telemetry;

/// The admin port (`/live`, `/ready`, `/metrics`) and the health registry behind it.
pub mod admin;

/// From a signal to a cancelled token, and the bound after which a process stops waiting.
pub mod shutdown;

/// Signatures of webhooks as the Standard Webhooks specification (1.0.0) has them.
pub mod webhook;

/// Points at which a test makes a process crash, fail or wait, in one table.
pub mod fault;

/// The TLS implementation that every client and server of the process uses.
pub mod tls;

/// Why a process ends, and errors with all their causes on one line.
mod failure;

/// The life of a process.
mod run;

/// What the kernel gives the process.
mod memory;

pub use admin::{Admin, Health, Status};
pub use failure::{Chain, Failure};
pub use run::{About, Process, run, run_with};
pub use shutdown::Shutdown;
