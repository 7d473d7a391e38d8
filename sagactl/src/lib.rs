//! `sagactl`: the command line of Quadrille, for whoever uses the shop, runs it, or mends it at night.
//!
//! A library only so that tests and benchmarks make their databases and topics the way operators do ([`migrate`]), and
//! count as they do ([`audit`]).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// The verbs and the options that they share.
pub mod cli;

/// Databases, roles, tables and topics.
pub mod migrate;

/// Whether everything adds up.
pub mod audit;

/// What each verb does.
mod verbs;

/// The rooms of a new service.
mod scaffold;

/// Where everything is.
mod settings;

/// Why a verb ends badly, and with which exit code.
mod failure;

/// Onto the screen.
mod screen;

/// Tables for people.
mod table;

/// Calls to the services.
mod grpc;

/// Amounts, as people write and services send them.
mod money;

/// Times, as people read them.
mod moment;

/// Reading topics.
mod records;

/// The services' databases, as their operators.
mod ops;

/// Every statement that is run as an operator's role, by database, module and name: for the test that prepares each.
#[doc(hidden)]
pub fn statements() -> impl Iterator<Item = [&'static str; 4]> {
    ops::statements()
}
