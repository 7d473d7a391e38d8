use super::refusal::Unsendable;

/// A topic's number within one relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TopicId(pub(crate) usize);

/// What the relay knows of a topic.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    /// What keys are spread over.
    pub(crate) partitions: i32,
    /// `max.message.bytes`; `None` if we may not read it.
    pub(crate) max_message_bytes: Option<usize>,
    /// Why nothing can be sent there.
    pub(crate) unsendable: Option<Unsendable>,
}

impl Topic {
    /// A topic that the broker knows, with the partition count that was recorded for it.
    pub(crate) fn met(id: TopicId, recorded: i32, found: Found) -> Self {
        Self {
            id,
            partitions: recorded,
            max_message_bytes: found.max_message_bytes,
            unsendable: (found.partitions < recorded).then_some(Unsendable::FewerPartitions {
                recorded,
                found: found.partitions,
            }),
        }
    }

    /// A topic that nothing can be sent to.
    pub(crate) fn unsendable(id: TopicId, why: Unsendable) -> Self {
        Self {
            id,
            partitions: 1,
            max_message_bytes: None,
            unsendable: Some(why),
        }
    }
}

/// What the broker says of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) partitions: i32,
    pub(crate) max_message_bytes: Option<usize>,
}
