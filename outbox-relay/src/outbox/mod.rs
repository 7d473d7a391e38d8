//! The outbox as the relay sees it: a lease, windows between snapshots, rows, leaves that are emptied.

/// Why the outbox cannot be served.
pub(crate) mod error;

/// Every statement.
pub(crate) mod sql;

/// Snapshots as text.
pub(crate) mod snapshot;

/// Connections with the relay's settings.
pub(crate) mod connection;

/// Sessions that are ours alone.
pub(crate) mod sessions;

/// Which server this is, and whether it may be read.
pub(crate) mod identity;

/// One owner per outbox, by fence number.
pub(crate) mod lease;

/// Who waits for the lease.
pub(crate) mod standby;

/// Opening windows.
pub(crate) mod window;

/// Reading windows, bounded.
pub(crate) mod read;

/// What cannot be sent, and what waits behind it.
pub(crate) mod parked;

/// Emptying leaves.
pub(crate) mod rotate;

/// The partition counts that keys are spread over.
pub(crate) mod topics;

/// Wishes for more of them.
pub(crate) mod growth;
