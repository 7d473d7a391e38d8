//! Kafka as the relay needs it: a producer that never leaves a gap, and an account of what was
//! acknowledged.

use rdkafka::error::KafkaError;

/// A client with a thread that hears it.
mod polled;

/// What Kafka knows of transactions.
pub(crate) mod transactions;

/// Which events were sent, and up to where they were acknowledged without a gap.
pub(crate) mod flight;

/// Which partitions know a producer.
pub(crate) mod primed;

/// One event as a Kafka record.
pub(crate) mod record;

/// What the broker says of a topic.
pub(crate) mod topics;

/// Asks the broker about topics.
pub(crate) mod directory;

/// What consumer groups have read.
pub(crate) mod readers;

/// What the topics hold of us.
pub(crate) mod published;

/// The settings that our promises rest on.
pub(crate) mod config;

/// One producer instance, from its first record to its last delivery report.
pub(crate) mod producer;

/// What a refusal means.
pub(crate) mod refusal;

/// Asks the broker on a thread that may wait.
async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    tokio::task::spawn_blocking(ask)
        .await
        .unwrap_or(Err(KafkaError::Canceled))
}
