/// Databases, roles, tables and topics.
pub(crate) mod migrate;

/// The catalogue.
pub(crate) mod product;

/// What is on the shelf.
pub(crate) mod stock;

/// Orders.
pub(crate) mod order;

/// Payments.
pub(crate) mod payment;

/// What happened in a saga, and what it waits for.
pub(crate) mod saga;

/// What is in the topics.
pub(crate) mod topics;

/// Keys that wait for somebody.
pub(crate) mod parked;

/// Calls to the outside world.
pub(crate) mod effects;

/// Stopping what a participant does by itself.
pub(crate) mod pause;

/// What has yet to be published.
pub(crate) mod outbox;

/// Whether everything adds up.
pub(crate) mod audit;

/// Yesterday's events against tomorrow's build.
pub(crate) mod replay;

/// The rooms of a new service.
pub(crate) mod new;

/// A narrated run.
pub(crate) mod demo;
