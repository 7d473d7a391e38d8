//! `sagactl`: the command line of Quadrille, for whoever uses the shop, runs it, or mends it at night.
//!
//! A library only so that tests and benchmarks make their databases and topics the way operators do:
//! [`migrate`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// The verbs and the options that they share.
pub mod cli;

/// Databases, roles, tables and topics.
pub mod migrate;

/// What each verb does.
mod verbs;

/// Where everything is.
mod settings;

/// Why a verb ends badly, and with which exit code.
mod failure;

/// Onto the screen.
mod screen;
