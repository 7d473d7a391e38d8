use std::fmt;

use rdkafka::error::RDKafkaErrorCode;

/// Why an event cannot be sent, as far as we can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsendable {
    /// It is larger than its topic takes.
    TooLarge {
        /// The topic's `max.message.bytes`, if we may read it.
        limit: Option<usize>,
    },
    /// There is no such topic.
    NoSuchTopic,
    /// There is none, and there never will be: no topic can have this name.
    BadTopicName,
    /// We may not write to the topic.
    NotAuthorised,
    /// The topic has fewer partitions than keys were spread over: it was made anew.
    FewerPartitions {
        /// The count in `saga.relay_topic`.
        recorded: i32,
        /// What the broker says now.
        found: i32,
    },
    /// The broker refuses it for another reason.
    Refused {
        /// The broker's words.
        reason: String,
    },
}

impl Unsendable {
    /// What the error says of the event itself. `None`: it says nothing of it; the broker is in trouble,
    /// and everything waits. So it is with `InvalidTimestamp`: records bear the time at which we send them, and a broker
    /// that refuses it says that our clock and its own are an hour apart.
    pub(crate) fn from_code(code: RDKafkaErrorCode) -> Option<Self> {
        use RDKafkaErrorCode as Code;
        Some(match code {
            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => Self::TooLarge { limit: None },
            Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::InvalidTopic => Self::NoSuchTopic,
            Code::TopicAuthorizationFailed => Self::NotAuthorised,
            Code::InvalidRecord
            | Code::InvalidMessage
            | Code::PolicyViolation
            | Code::UnsupportedForMessageFormat => Self::Refused {
                reason: code.to_string(),
            },
            _ => return None,
        })
    }

    /// What it says of a topic that the broker does not have.
    pub(crate) fn of_missing(topic: &str) -> Self {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let possible =
            (1..=249).contains(&topic.len()) && topic.bytes().all(plain) && !matches!(topic, "." | "..");
        if possible {
            Self::NoSuchTopic
        } else {
            Self::BadTopicName
        }
    }

    /// Whether it is the topic's fault, so that none of its events can be sent. The relay tries these again by itself;
    /// what is an event's own fault waits for an operator.
    pub fn is_topics(&self) -> bool {
        match self {
            Self::NoSuchTopic | Self::BadTopicName | Self::NotAuthorised | Self::FewerPartitions { .. } => {
                true
            }
            Self::TooLarge { .. } | Self::Refused { .. } => false,
        }
    }

    /// What somebody can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => {
                "raise the topic's max.message.bytes and replay the key, or discard the event"
            }
            Self::NoSuchTopic => "create the topic; the relay goes on by itself",
            Self::BadTopicName => {
                "correct who wrote it and discard the events: names are 1 to 249 letters, digits, '.', '_' and '-'"
            }
            Self::NotAuthorised => {
                "allow the relay's user to write to the topic; the relay goes on by itself"
            }
            Self::FewerPartitions { .. } => {
                "the topic was made anew: give it its partitions back, or correct saga.relay_topic if its \
                 consumers have read everything; the relay goes on by itself"
            }
            Self::Refused { .. } => {
                "mend what the broker complains of and replay the key, or discard the event"
            }
        }
    }

    /// One word, for a metric's label.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::NoSuchTopic => "no_such_topic",
            Self::BadTopicName => "bad_topic_name",
            Self::NotAuthorised => "not_authorised",
            Self::FewerPartitions { .. } => "fewer_partitions",
            Self::Refused { .. } => "refused",
        }
    }

    /// Every label that [`label`](Self::label) gives.
    pub(crate) const LABELS: [&str; 6] = [
        "too_large",
        "no_such_topic",
        "bad_topic_name",
        "not_authorised",
        "fewer_partitions",
        "refused",
    ];
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit: Some(limit) } => {
                write!(f, "it is larger than the topic's max.message.bytes of {limit}")
            }
            Self::TooLarge { limit: None } => f.write_str("it is larger than the topic takes"),
            Self::NoSuchTopic => f.write_str("there is no such topic"),
            Self::BadTopicName => f.write_str("no topic can have this name"),
            Self::NotAuthorised => f.write_str("the relay may not write to the topic"),
            Self::FewerPartitions { recorded, found } => {
                write!(
                    f,
                    "the topic has {found} partitions, but its keys are spread over {recorded}"
                )
            }
            Self::Refused { reason } => write!(f, "the broker refuses it: {reason}"),
        }
    }
}

/// What is wrong when a refusal says nothing of the event at `position` itself, for whoever reads the health check.
pub(crate) fn why_everything_waits(code: RDKafkaErrorCode, position: i64) -> String {
    let remedy = match code {
        RDKafkaErrorCode::InvalidTimestamp => {
            "; the clocks of this machine and of the broker are an hour apart or more: set them"
        }
        _ => "",
    };
    format!("the broker refused the event at {position}: {code}{remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_is_no_events_fault() {
        assert_eq!(Unsendable::from_code(RDKafkaErrorCode::InvalidTimestamp), None);
        assert!(Unsendable::from_code(RDKafkaErrorCode::InvalidRecord).is_some());
        assert!(why_everything_waits(RDKafkaErrorCode::InvalidTimestamp, 7).contains("clocks"));
    }

    #[test]
    fn a_lost_quorum_or_disk_is_no_events_fault() {
        for code in [
            RDKafkaErrorCode::NotEnoughReplicas,
            RDKafkaErrorCode::NotEnoughReplicasAfterAppend,
            RDKafkaErrorCode::KafkaStorageError,
        ] {
            assert_eq!(Unsendable::from_code(code), None, "{code}");
        }
    }

    #[test]
    fn names_that_no_topic_can_have() {
        for possible in ["orders", "Orders.v1_eu-west", "...", &"x".repeat(249)] {
            assert_eq!(
                Unsendable::of_missing(possible),
                Unsendable::NoSuchTopic,
                "{possible}"
            );
        }
        for impossible in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "bestellungen-für-alle",
            &"x".repeat(250),
        ] {
            assert_eq!(
                Unsendable::of_missing(impossible),
                Unsendable::BadTopicName,
                "{impossible}"
            );
        }
    }
}
