//! The sandbox over HTTP, with its books in a real PostgreSQL.
#![allow(clippy::unwrap_used)]

/// A database, a sandbox, a merchant who receives webhooks.
mod harness;

mod charges;
mod faults;
mod hanging_up;
mod pages;
mod program;
mod refunds;
mod restart;
mod statements;
