//! A participant of three lines of business, written only against the public API.

/// The whole that nobody leads, checked.
mod choreography;

/// Participants that are tables.
mod play;

mod lending;

/// A desk that lends books: the smallest participant with an event, a command, an effect and a timer.
mod desk;

/// Yesterday's events against today's build.
mod replay;
