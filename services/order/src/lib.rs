//! Order: takes orders and follows each to its end.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// The decisions.
pub mod participant;
