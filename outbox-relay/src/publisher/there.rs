use std::collections::{BTreeMap, HashMap};

use saga_core::partitioner::partition_for;
use saga_core::position::Position;

use super::places::{is_before, position_in};
use super::{Halt, Publisher};
use crate::kafka::published::{Ends, all_led, by_partition, is_refusal};
use crate::outbox::error::OutboxError;
use crate::outbox::read::Chunk;
use crate::outbox::window::Window;

/// What each topic ended with when somebody else had written there last: the owner before this one, or a producer of this one
/// that did not tell what became of its events.
///
/// Whoever dies, or is cut off, may have written more than anybody has heard of. It is not sent once more: consumers would
/// know it for duplicates, but a topic may refuse by now what it took then, and what is parked comes again under another position.
#[derive(Debug, Default)]
pub(super) struct There {
    topics: HashMap<String, BTreeMap<i32, Position>>,
    /// A producer has ended without telling, and what it wrote was not looked up yet.
    unsure: bool,
}

impl There {
    /// Each producer writes to a partition without gaps, from somewhere at or before what is known to be acknowledged. So what is at
    /// or before the highest position is in the partition, or was set aside when that one was written. And since nobody sends
    /// again what is there, the highest is among the last records; if it is not, because a frozen relay has woken up, more is
    /// sent again than need be, and nothing is left out.
    fn has(&self, topic: &str, partition: i32, place: Position) -> bool {
        let last = self.topics.get(topic).and_then(|topic| topic.get(&partition));
        last.is_some_and(|last| *last >= place)
    }

    fn add(&mut self, ends: BTreeMap<String, Ends>) {
        for (topic, ends) in ends {
            let known = self.topics.entry(topic).or_default();
            for (partition, last) in ends.last {
                let known = known.entry(partition).or_insert(last);
                *known = last.max(*known);
            }
        }
    }

    /// What ends before a window says nothing of its events.
    pub(super) fn forget_before(&mut self, window: &Window) {
        self.topics
            .retain(|_, topic| topic.values().any(|last| !is_before(*last, window)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// A producer has ended without telling what became of its events.
    pub(super) fn doubt(&mut self) {
        self.unsure = true;
    }
}

impl Publisher {
    /// What topics end with, before anything is sent.
    pub(crate) fn go_on_behind(&mut self, ends: BTreeMap<String, Ends>) {
        // In transactions, what is committed tells.
        if self.transacting.is_none() {
            self.there.add(ends);
        }
    }

    /// Looks what was written by a producer that did not tell.
    ///
    /// # Errors
    /// If the broker does not answer, or a partition has no leader. That we may not read topics is none: what is there comes again.
    pub(super) async fn ask_if_unsure(&mut self) -> Result<(), Halt> {
        if !self.there.unsure {
            return Ok(());
        }
        let (kafka, source) = (&self.options.kafka, &self.options.source);
        let found = by_partition(kafka, source, self.topics.ever_met()).await;
        match found.and_then(|ends| all_led(&ends).map(|()| ends)) {
            Ok(ends) => self.there.add(ends),
            Err(error) if is_refusal(&error) => tracing::warn!(
                source = %self.shared.source, %error, "relay may not read its topics; what they have may come again"
            ),
            Err(source) => {
                let doing = "asking what was written";
                return Err(Halt::Client { doing, source });
            }
        }
        self.there.unsure = false;
        Ok(())
    }

    /// The events of a chunk that the broker has, by index: what somebody before has written, and what it has acknowledged behind
    /// one that it refused. The chunk's topics are known.
    ///
    /// The latter are not sent once more either: the records of a partition would go back, and whoever takes over could not tell
    /// by the last of them what is there.
    pub(super) fn had(&self, window: &Window, chunk: &Chunk) -> Result<Vec<usize>, OutboxError> {
        let mut had = Vec::new();
        if self.there.is_empty() && self.beyond.is_empty() {
            return Ok(had);
        }
        let known = self.topics.snapshot();
        for index in 0..chunk.len() {
            let event = chunk.event(index)?;
            let place = position_in(window, event.position);
            if self.beyond.contains(&place) {
                had.push(index);
                continue;
            }
            // Of a topic that nothing can be sent to, it is not known where keys go: what is taken for there by mistake is lost.
            let topic = known.get(event.topic).filter(|topic| topic.unsendable.is_none());
            let Some(topic) = topic else { continue };
            let partition = partition_for(event.key.as_bytes(), topic.partitions);
            if self.there.has(event.topic, partition, place) {
                had.push(index);
            }
        }
        Ok(had)
    }
}
