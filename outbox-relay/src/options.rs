use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::hosts::Hosts;

/// The name of an outbox: `order`. Its events' `ce_source` is `/order`.
///
/// Lower-case letters, digits, `-`, `_` and `.`, at most 63 characters: it is part of what consumers
/// remember, of metric labels and of health checks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(String);

/// Not the name of an outbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{found}' is not the name of an outbox; expected a-z, 0-9, '-', '_' and '.', as in 'order'")]
pub struct BadSourceName {
    /// What was given, cut to 64 characters.
    pub found: String,
}

impl SourceName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SourceName {
    type Err = BadSourceName;

    fn from_str(text: &str) -> Result<Self, BadSourceName> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let inner = |b: u8| plain(b) || matches!(b, b'.' | b'_' | b'-');
        let bytes = text.as_bytes();
        let well_formed = bytes.len() <= 63
            && bytes.first().is_some_and(|&b| plain(b))
            && bytes.last().is_some_and(|&b| plain(b))
            && bytes.iter().all(|&b| inner(b));
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadSourceName {
                found: text.chars().take(64).collect(),
            })
        }
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one relay is made of: one outbox, one Kafka cluster, and the numbers in between.
///
/// The defaults are right for nearly everybody; what has to be given is in [`Options::new`], and the rest are
/// fields to set afterwards.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// The outbox's name.
    pub source: SourceName,
    /// The outbox's database, as the role `<svc>_relay`.
    pub database: Hosts,
    /// librdkafka properties: brokers, security, and whatever the user wants. What the relay's promises
    /// rest on is set after them.
    pub kafka: Vec<(String, String)>,
    /// Publishes in Kafka transactions under this id, for consumers that read what is committed (`read_committed`) and
    /// have no means of their own against duplicates: each event is visible to them once. One id per outbox, and the
    /// same one wherever the outbox is served from; consumer offsets are kept in the name of a group that is called the
    /// same.
    pub transactional_id: Option<String>,
    /// Who holds the lease, for people; several relays may have the same name.
    pub owner: String,
    /// Whether a `send` span is made for events whose writer's trace is sampled. Only worth it where spans
    /// are collected.
    pub spans: bool,
    /// How long a relay that has died keeps others waiting. It is renewed three times as often.
    pub lease: Duration,
    /// How often the acknowledged window is written to the database.
    pub persist_every: Duration,
    /// The shortest and the longest wait between two looks at an idle outbox. When nothing has come for ten seconds, the
    /// longest is four times that. The more outboxes an [`Instance`](crate::Instance) has, the longer they wait, so that all of
    /// them together are looked at 2,000 times a second at most while nothing comes.
    pub poll: (Duration, Duration),
    /// How often leaves are looked at that could be emptied.
    pub rotate_every: Duration,
    /// Rows that are read at once. Bounds memory together with `chunk_bytes`. The outboxes of an
    /// [`Instance`](crate::Instance) share this, and what may be in flight, while several have something to publish.
    pub chunk_rows: u32,
    /// The same with a [`transactional_id`](Self::transactional_id), where they are the most that one transaction has. A commit
    /// takes the broker as long whatever is in it, and one is on its way at a time.
    pub transaction_rows: u32,
    /// Bytes of payload and headers that are read at once; one event may go beyond it.
    pub chunk_bytes: u32,
    /// Rows that one statement looks at, apart from those that it returns: about a second's worth. Between those of a window
    /// there may be millions that were acknowledged before, or belong to a later one.
    pub chunk_stride: u32,
    /// Windows that may wait for the broker's acknowledgement.
    pub in_flight_windows: usize,
    /// Events that may wait for the broker's acknowledgement.
    pub in_flight_events: u32,
    /// Bytes that may wait for the broker's acknowledgement.
    pub in_flight_bytes: u32,
    /// After this, a statement is given up and the connection with it.
    pub statement_timeout: Duration,
    /// How long the window in flight may take once the relay was told to stop.
    pub finish_within: Duration,
    /// How long events wait for consumers to have read a topic that is to spread its keys over more partitions. Then
    /// they go on as before, and it is tried again.
    pub grow_within: Duration,
    /// The shortest and the longest wait before an event that holds the outbox up is tried again.
    pub retry_stopped: (Duration, Duration),
    /// For how long a topic that is not there, or not ours to write to, may hold the outbox up before it is parked:
    /// somebody may be about to make it.
    pub park_topic_after: Duration,
    /// How often a parked topic is tried again.
    pub retry_parked_topic: Duration,
    /// Parked events that are sent again in one window. Other events go out in between.
    pub replay_rows: u32,
    /// Keys and topics that may be parked. The next one holds the outbox up, as something is thoroughly wrong.
    pub parked_max: usize,
}

impl Options {
    /// A relay with the default numbers. `kafka` must hold `bootstrap.servers`.
    pub fn new(source: SourceName, database: Hosts, kafka: Vec<(String, String)>) -> Self {
        Self {
            source,
            database,
            kafka,
            transactional_id: None,
            owner: format!("pid-{}", std::process::id()),
            spans: false,
            lease: Duration::from_secs(10),
            persist_every: Duration::from_secs(1),
            poll: (Duration::from_millis(1), Duration::from_millis(25)),
            rotate_every: Duration::from_secs(10),
            chunk_rows: 2_500,
            transaction_rows: 10_000,
            chunk_bytes: 8 * 1024 * 1024,
            chunk_stride: 1_000_000,
            in_flight_windows: 8,
            in_flight_events: 16_000,
            in_flight_bytes: 32 * 1024 * 1024,
            statement_timeout: Duration::from_secs(60),
            finish_within: Duration::from_secs(5),
            grow_within: Duration::from_secs(15),
            retry_stopped: (Duration::from_secs(1), Duration::from_secs(30)),
            park_topic_after: Duration::from_secs(10),
            retry_parked_topic: Duration::from_secs(30),
            replay_rows: 10_000,
            parked_max: 10_000,
        }
    }
}

/// Without the database's password and the properties' values.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("source", &self.source)
            .field("database", &self.database)
            .field("owner", &self.owner)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_outboxes() {
        for good in ["order", "a", "payment-sandbox", "eu.order_2"] {
            assert_eq!(
                good.parse::<SourceName>().map(|name| name.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in ["", "Order", "-order", "order.", "a/b", "a b", &"x".repeat(64)] {
            assert!(bad.parse::<SourceName>().is_err(), "{bad}");
        }
    }
}
