//! What a topic has to be. Topics are created from this, never by accident.

use std::time::Duration;

/// A topic of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Name without the installation's prefix.
    pub name: &'static str,
    /// How many partitions. Sagas whose topics have the same number are co-partitioned.
    pub partitions: u32,
    /// How long the broker keeps records.
    pub retention: Duration,
}

/// Suffix of the topic that copies of parked messages go to.
pub const DEAD_LETTER_SUFFIX: &str = "-dlt";

/// Partitions of a topic unless said otherwise.
pub const PARTITIONS: u32 = 12;

/// 14 days: longer than a weekend, a holiday and the day on which somebody notices.
pub const RETENTION: Duration = Duration::from_secs(14 * 24 * 3600);

impl Topic {
    /// A topic with the usual numbers.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            partitions: PARTITIONS,
            retention: RETENTION,
        }
    }
}
