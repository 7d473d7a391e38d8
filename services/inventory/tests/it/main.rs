//! Inventory on a real PostgreSQL and a real Apache Kafka.

/// A world with inventory at work in it.
mod shop;

/// The gRPC API.
mod api;
/// Orders, from their event to their end.
mod orders;
/// Tables and statements.
mod tables;
