//! The parts of a process against real sockets.

#![allow(clippy::unwrap_used)]

mod admin;
mod collector;
mod traces;
