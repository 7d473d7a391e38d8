//! Pure core of a choreographed saga.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// An event as it travels.
pub mod envelope;
/// Money: integers of minor units.
pub mod money;
/// Which partition a key goes to.
pub mod partitioner;
/// Where an event stands in its outbox.
pub mod position;
