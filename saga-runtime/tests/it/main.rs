//! The engine on a real PostgreSQL and a real Apache Kafka.

/// The participant of these tests.
mod kiosk;
/// A database and topics for each test.
mod world;

/// Commands, effects, timers, pauses.
mod acting;
/// Events: once, in order, parked, or stopped.
mod consuming;
/// Databases that encrypt, and several of them.
mod databases;
/// What every store has to do.
mod stores;
