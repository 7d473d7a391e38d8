//! The records of one key, in the order in which they were told, although they stand in several partitions.
//!
//! A topic that gets more partitions keeps what it has where it is: of a key that moved, the older records stand in one
//! partition and the newer ones in another. What orders them is the position that the outbox's relay gave them. It moves
//! keys only once everything before is acknowledged and read, so what goes to the new partition stands above all that went
//! to the old one, and what happened is read off by merging both by position.
//!
//! Merging is not sorting: along its own partition a record stays where it is. So what is really out of order still is,
//! and is found by whoever looks for it ([`crate::audit::KeyOrder`]).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::position::Position;

/// What tells when a record was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Whose outbox it comes from: `/order`. Positions of different outboxes say nothing of each other.
    pub source: String,
    /// Its position; foreign producers give none.
    pub sequence: Option<Position>,
    /// When it was written. It decides where positions do not: a clock may be wrong.
    pub written: Option<DateTime<Utc>>,
}

impl Mark {
    /// Whether this was told before the other: only what one outbox told can be compared for certain.
    fn is_before(&self, other: &Self) -> bool {
        match (self.sequence, other.sequence) {
            (Some(one), Some(two)) => self.source == other.source && one.cmp(&two) == Ordering::Less,
            _ => false,
        }
    }
}

/// The records of one key, by where they stand: `P` is a partition, or a topic and a partition.
#[derive(Clone, Debug)]
pub struct Strands<P, T> {
    strands: BTreeMap<P, Vec<(Mark, T)>>,
}

impl<P, T> Default for Strands<P, T> {
    fn default() -> Self {
        Self {
            strands: BTreeMap::new(),
        }
    }
}

impl<P: Ord, T> Strands<P, T> {
    /// The next record of a partition.
    pub fn push(&mut self, partition: P, mark: Mark, record: T) {
        self.strands.entry(partition).or_default().push((mark, record));
    }

    /// All records, partition by partition.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.strands.values().flatten().map(|(_, record)| record)
    }

    /// The last record of a partition so far.
    pub fn last_of(&self, partition: &P) -> Option<&Mark> {
        self.strands.get(partition)?.last().map(|(mark, _)| mark)
    }

    /// In the order in which they were told, each partition's own order kept.
    pub fn merged(self) -> Vec<T> {
        let mut strands: Vec<_> = self
            .strands
            .into_values()
            .map(|strand| strand.into_iter().peekable())
            .collect();
        let mut merged = Vec::new();
        loop {
            let heads: Vec<(usize, &Mark)> = strands
                .iter_mut()
                .enumerate()
                .filter_map(|(index, strand)| Some((index, &strand.peek()?.0)))
                .collect();
            // Of what one outbox told there is always a first, so there is always one that is behind no other.
            let first = heads
                .iter()
                .filter(|(_, mark)| !heads.iter().any(|(_, other)| other.is_before(mark)))
                .min_by_key(|(_, mark)| mark.written)
                .map(|(index, _)| *index);
            let Some((_, record)) = first.and_then(|index| strands[index].next()) else {
                return merged;
            };
            merged.push(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(source: &str, window: u64) -> Mark {
        Mark {
            source: source.to_owned(),
            sequence: Some(Position::new(1, window, window)),
            written: None,
        }
    }

    fn merged(records: &[(i32, Mark, &'static str)]) -> Vec<&'static str> {
        let mut strands = Strands::default();
        for (partition, mark, record) in records {
            strands.push(*partition, mark.clone(), *record);
        }
        strands.merged()
    }

    #[test]
    fn the_old_partition_comes_first_whatever_its_number() {
        for (old, new) in [(0, 7), (7, 0)] {
            let records = [
                (new, mark("/desk", 3), "third"),
                (new, mark("/desk", 4), "fourth"),
                (old, mark("/desk", 1), "first"),
                (old, mark("/desk", 2), "second"),
            ];
            assert_eq!(merged(&records), ["first", "second", "third", "fourth"]);
        }
    }

    /// 2 of 5, 4 of 8, 2 of 10: where the key 12 goes.
    #[test]
    fn a_key_may_come_back_to_a_partition() {
        let records = [
            (2, mark("/desk", 1), "of 5"),
            (2, mark("/desk", 3), "of 10"),
            (4, mark("/desk", 2), "of 8"),
        ];
        assert_eq!(merged(&records), ["of 5", "of 8", "of 10"]);
    }

    #[test]
    fn what_is_out_of_order_in_its_partition_stays_so() {
        let records = [
            (0, mark("/desk", 2), "second"),
            (0, mark("/desk", 1), "first, too late"),
            (1, mark("/desk", 3), "third"),
        ];
        assert_eq!(merged(&records), ["second", "first, too late", "third"]);
    }

    #[test]
    fn time_decides_between_outboxes_and_where_there_is_no_position() {
        let at = |mark: Mark, second| Mark {
            written: DateTime::from_timestamp(second, 0),
            ..mark
        };
        let foreign = Mark::default();
        let records = [
            (0, at(mark("/desk", 9), 10), "ten"),
            (0, at(foreign.clone(), 40), "forty"),
            (1, at(mark("/shelf", 1), 20), "twenty"),
            (1, at(foreign, 30), "thirty"),
            // A clock that is wrong does not undo a position.
            (2, at(mark("/desk", 10), 5), "after ten"),
        ];
        assert_eq!(
            merged(&records),
            ["ten", "after ten", "twenty", "thirty", "forty"]
        );
    }
}
