#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// What it is told by its environment.
mod config;

/// Test tokens: what a charge with each of them does.
mod token;

/// Names of charges, refunds, pages and webhooks.
mod ids;

/// The first answer to a key, and who is being answered right now.
mod idempotency;

/// Misbehaviour that a test asks for at run time.
mod faults;

/// The tables.
pub mod store;

/// Books charges that arrive together in one transaction.
mod ledger;

/// The API and the hosted page.
mod http;

/// Tells the merchant what happened on a page.
mod webhooks;

/// What must happen as time passes: pages expire, old keys are forgotten.
mod housekeeping;

/// Puts the parts together.
mod sandbox;

pub use config::Config;
pub use sandbox::{Sandbox, StartError, run_until_stopped};
