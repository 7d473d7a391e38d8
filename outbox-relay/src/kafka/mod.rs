//! Kafka as the relay needs it: a producer that never leaves a gap, and an account of what was
//! acknowledged.

/// Which events were sent, and up to where they were acknowledged without a gap.
pub(crate) mod flight;

/// Which partitions know a producer.
pub(crate) mod primed;

/// One event as a Kafka record.
pub(crate) mod record;

/// What the broker says of a topic.
pub(crate) mod topics;

/// The settings that our promises rest on.
pub(crate) mod config;

/// One producer instance, from its first record to its last delivery report.
pub(crate) mod producer;

/// What a refusal means.
pub(crate) mod refusal;
