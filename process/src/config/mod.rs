//! A key `K` of the service `order` is looked up as `ORDER_K`, then as `QUADRILLE_K`: what all processes
//! share is said once. An empty value counts as absent.
//!
//! Readers do not fail at once. They remember the problem and go on, so that whoever starts a process
//! sees everything that is wrong in one go. Hence the one rule for a configuration's constructor: **first
//! read everything into variables, then take them apart with `?`**.
//!
//! ```
//! use std::time::Duration;
//! use quadrille_process::config::{Env, Secret};
//!
//! struct Config {
//!     database_url: Secret<String>,
//!     pool_max: u32,
//!     patience: Duration,
//! }
//!
//! let mut env = Env::from_pairs("ORDER", [("ORDER_DATABASE_URL", "postgres://order:s3cret@db/order")]);
//! let config = env.build(|env| {
//!     let database_url = env.secret("DATABASE_URL", "postgres://user:password@host[:port]/database");
//!     let pool_max = env.bounded("DATABASE_POOL_MAX", 8, 1..=200);
//!     let patience = env.duration_ms("PATIENCE_MS", Duration::from_secs(5));
//!     Some(Config { database_url: database_url?, pool_max, patience })
//! });
//! assert_eq!(config.unwrap().pool_max, 8);
//! ```
//!
//! The readers know each key's form and default, so `--help` is made from them: [`Env::describe`](crate::config::Env::describe).

/// Readers that collect problems, and `--help`.
mod env;

/// What was wrong.
mod invalid;

/// Values that are never shown.
mod secret;

pub use env::{Env, Key};
pub use invalid::{Invalid, Problem};
pub use secret::Secret;
