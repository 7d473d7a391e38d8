use std::collections::{BTreeMap, HashMap};

use saga_core::partitioner::partition_for;
use saga_core::position::Position;
use sqlx::postgres::PgConnection;

use super::places::{is_before, position_in};
use super::{Halt, Publisher};
use crate::kafka::published::{by_partition, is_refusal};
use crate::outbox::error::OutboxError;
use crate::outbox::read::Chunk;
use crate::outbox::window::Window;

/// Up to where the broker has this outbox's records, by topic and partition, as far as it was asked.
///
/// An owner before this one, or a producer before this one, may have written an event and not have heard so. When the event
/// goes out once more it may be refused, since the topic takes less by now. If it were parked, it would come twice, the second
/// time under another position.
#[derive(Debug, Default)]
pub(super) struct There(HashMap<String, InTopic>);

#[derive(Debug)]
struct InTopic {
    /// What keys are spread over.
    partitions: i32,
    last: BTreeMap<i32, Position>,
}

impl InTopic {
    /// Records of a partition come in the order of positions, without gaps but for what is set aside.
    fn has(&self, key: &str, place: Position) -> bool {
        let partition = partition_for(key.as_bytes(), self.partitions);
        self.last.get(&partition).is_some_and(|last| *last >= place)
    }
}

impl There {
    /// What ends before a window says nothing of its events, and each look costs.
    pub(super) fn forget_before(&mut self, window: &Window) {
        self.0
            .retain(|_, topic| topic.last.values().any(|last| !is_before(*last, window)));
    }
}

impl Publisher {
    /// Asks the broker what it has of a topic. To be called when nothing is on its way there.
    ///
    /// # Errors
    /// If it does not answer. That we may not read the topic is none: then it is not known what is there.
    pub(crate) async fn ask_what_is_there(
        &mut self,
        connection: &mut PgConnection,
        topic: &str,
    ) -> Result<(), Halt> {
        if self.transacting.is_some() {
            // It is known, by what is committed.
            return Ok(());
        }
        self.topics.meet(connection, vec![topic.to_owned()]).await?;
        let known = self.topics.snapshot();
        // Of one that nothing can be sent to, it is not known where keys go: what is taken for there by mistake is lost.
        let sendable = known.get(topic).filter(|topic| topic.unsendable.is_none());
        let Some(partitions) = sendable.map(|topic| topic.partitions) else {
            self.there.0.remove(topic);
            return Ok(());
        };
        let (kafka, source) = (&self.options.kafka, &self.options.source);
        let last = match by_partition(kafka, source, vec![topic.to_owned()]).await {
            Ok(mut found) => found.remove(topic).unwrap_or_default(),
            Err(error) if is_refusal(&error) => {
                tracing::warn!(
                    source = %self.shared.source, topic, %error,
                    "relay may not read the topic; what it parks could be there already, and come twice"
                );
                BTreeMap::new()
            }
            Err(source) => {
                let doing = "asking what was written";
                return Err(Halt::Client { doing, source });
            }
        };
        self.there
            .0
            .insert(topic.to_owned(), InTopic { partitions, last });
        Ok(())
    }

    /// The same of the topics of events that are set aside, if an owner before this one may have sent them.
    pub(super) async fn ask_for_those_aside(
        &mut self,
        connection: &mut PgConnection,
        window: &Window,
        chunk: &Chunk,
    ) -> Result<(), Halt> {
        if window.replay || window.number > self.resumed {
            return Ok(());
        }
        for index in self.parked.among(chunk)? {
            let topic = chunk.topic(index)?;
            if !self.there.0.contains_key(topic) && !self.parked.holds_all_of(topic) {
                self.ask_what_is_there(connection, topic).await?;
            }
        }
        Ok(())
    }

    /// Whether the broker has an event of a window, as far as it was asked.
    pub(crate) fn is_there(&self, window: &Window, (topic, key): (&str, &str), position: i64) -> bool {
        let topic = self.there.0.get(topic).filter(|_| !window.replay);
        topic.is_some_and(|topic| topic.has(key, position_in(window, position)))
    }

    /// The events of a chunk that the broker has, by index.
    pub(super) fn had(&self, window: &Window, chunk: &Chunk) -> Result<Vec<usize>, OutboxError> {
        let mut had = Vec::new();
        if self.there.0.is_empty() {
            return Ok(had);
        }
        for index in 0..chunk.len() {
            let event = chunk.event(index)?;
            // Of a topic that nothing can be sent to, everything waits.
            if self.is_there(window, (event.topic, event.key), event.position)
                && !self.parked.holds_all_of(event.topic)
            {
                had.push(index);
            }
        }
        Ok(had)
    }
}
