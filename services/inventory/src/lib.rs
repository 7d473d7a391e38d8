//! Inventory: holds the stock of an order until the order is confirmed or cancelled.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// The decisions.
pub mod participant;
