//! A participant of three lines of business, written only against the public API.

mod lending;

/// A desk that lends books: the smallest participant with an event, a command, an effect and a timer.
mod desk;
