//! The engine on a real PostgreSQL and a real Apache Kafka.

/// The participant of these tests.
mod kiosk;
/// A database and topics for each test.
mod world;

/// Commands, effects, timers, pauses.
mod acting;
/// Calls that give no answer.
mod calls;
/// Events: once, in order, or parked.
mod consuming;
/// Databases that encrypt, and several of them.
mod databases;
/// Records that are missing: their partition stops.
mod holes;
/// How much a statement reads.
mod plans;
/// What the database refuses.
mod poison;
/// Replays of parked keys.
mod replaying;
/// What every store has to do.
mod stores;
