//! The shop under faults: real processes, a real broker, a real database.
//!
//! After each scenario the accountant looks at all of it. Scenarios that break nothing share one shop and run at
//! the same time, each with products and orders of its own; those that kill share another, one at a time; those that
//! stop a server have servers of their own.

/// Where scenarios play.
mod stage;

/// How an order ends when nothing breaks.
mod endings;

/// Cancels before, during and after the payment.
mod cancelling;

/// A provider with bad days.
mod paying;

/// Reports of the provider: twice, late, forged.
mod webhooks;

/// What a collector sees of an order.
mod traces;

/// Requests that are wrong.
mod requests;

/// Records that are wrong.
mod records;

/// Settings that are wrong.
mod configuration;

/// Every record twice.
mod twice;

/// Processes that die at the worst moment.
mod points;

/// Processes that die at any moment.
mod kills;

/// Topics that get more partitions.
mod growth;

/// Two relays on one outbox.
mod relays;

/// Another build of the services.
mod upgrade;

/// A message that nobody can read.
mod poison;

/// Processes that come and go.
mod rebalance;

/// A shop that is damaged on purpose, and what its operators are told.
mod audit;

/// What happened, put to the build's own decisions.
mod replay;

/// Servers that go away.
mod servers;

/// Each fault point once.
mod certificate;

/// Clocks that jump.
mod clocks;

/// All of that at the same time.
mod chaos;
