//! The shop under every fault. `tests/model` runs the decisions of production through every interleaving.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
