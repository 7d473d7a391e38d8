//! Payment: charges an order, or opens a page for it, and gives the money back if the order ends otherwise.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// The decisions.
pub mod participant;
/// Calls to the payment provider.
pub mod provider;
/// The table of payments.
pub mod store;
