//! Payment on a real PostgreSQL and a real Apache Kafka, against the real payment sandbox.

/// A world with payment and the provider at work in it.
mod till;

/// Cards: every token, refunds, what the provider forgets.
mod cards;
/// Who is believed at the webhook's door.
mod door;
/// Hosted pages, and what is reported of them.
mod pages;
/// Tables, statements, the API's answers, configuration.
mod tables;
