//! Orders of which a topic holds records in several partitions: it grew while they were under way.
//!
//! Partitions are read beside each other, so in which order such an order's events were told is known only once all of
//! them are read. They are read a second time, which few need, and put together by position.

use std::collections::BTreeMap;

use saga_core::strands::{Mark, Strands};
use uuid::Uuid;

use super::told::Told;

/// Such orders, by topic as well.
#[derive(Debug, Default)]
pub(super) struct Moved(BTreeMap<(Uuid, usize), Strands<i32, Told>>);

impl Moved {
    /// One that was found.
    pub(super) fn add(&mut self, id: Uuid, topic: usize) {
        self.0.entry((id, topic)).or_default();
    }

    pub(super) fn has(&self, id: Uuid, topic: usize) -> bool {
        self.0.contains_key(&(id, topic))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a topic has any.
    pub(super) fn is_in(&self, topic: usize) -> bool {
        self.0.keys().any(|(_, at)| *at == topic)
    }

    /// The next record of a partition. What is not above the one before it is a repetition, or was told of already.
    pub(super) fn take(&mut self, id: Uuid, topic: usize, source: &str, told: Told) {
        let Some(strands) = self.0.get_mut(&(id, topic)) else {
            return;
        };
        let last = strands
            .last_of(&told.partition)
            .filter(|last| last.source == source);
        if last.is_some_and(|last| last.sequence >= Some(told.sequence)) {
            return;
        }
        let mark = Mark {
            source: source.to_owned(),
            sequence: Some(told.sequence),
            written: None,
        };
        strands.push(told.partition, mark, told);
    }

    /// Each with its events, in the order in which they were told.
    pub(super) fn merged(self) -> impl Iterator<Item = ((Uuid, usize), Vec<Told>)> {
        self.0.into_iter().map(|(at, strands)| (at, strands.merged()))
    }
}
