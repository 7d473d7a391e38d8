//! Product: the catalogue. What is for sale, and at what price.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// The decisions.
pub mod participant;
