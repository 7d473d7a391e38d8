//! What has to be true of the records of a topic, for whoever reads them one after another: nothing is missing,
//! nothing is out of order, and what comes twice is the same twice.
//!
//! Only cursors are kept, so a log of any length is read in the memory of a short one.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hasher as _};

use crate::position::Position;

/// How many records of a partition are remembered per outbox, to tell what is said again from what is out of order. A
/// relay repeats what it sent since its last note, a second's worth.
pub const REMEMBERED: usize = 16_384;

/// A record as it stands in its partition.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'r> {
    /// Whose outbox it comes from: `/order`.
    pub source: &'r str,
    /// Its position.
    pub sequence: Position,
    /// What the relay sent to the partition before it.
    pub previous: Option<Position>,
    /// What it says: [`digest`].
    pub digest: u64,
}

/// What a record is to a reader of its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighted {
    /// News.
    New,
    /// News, but what was sent before it is not in the log.
    AfterHole {
        /// The last that is there; `None` if nothing is.
        last: Option<Position>,
        /// What was sent before it.
        previous: Position,
    },
    /// The same again.
    Again,
    /// An old position with another content.
    Altered,
    /// A position that was not there before, behind a higher one: every consumer takes it for a repetition.
    Overtaken {
        /// The higher one.
        by: Position,
    },
    /// A position from so long ago that it is not remembered whether it was there before.
    Forgotten {
        /// The highest one.
        last: Position,
    },
}

/// One partition, as far as it was read.
#[derive(Clone, Debug)]
pub struct Partition {
    from_start: bool,
    remembered: usize,
    tails: BTreeMap<String, Tail>,
}

/// The last records of one outbox, by position.
#[derive(Clone, Debug, Default)]
struct Tail {
    records: VecDeque<(Position, u64)>,
    is_cut: bool,
}

impl Partition {
    /// `from_start`: its very first record is read, too. Otherwise what came before the first is unknown, and no hole.
    pub fn new(from_start: bool) -> Self {
        Self {
            from_start,
            remembered: REMEMBERED,
            tails: BTreeMap::new(),
        }
    }

    /// Remembers so many records per outbox instead of [`REMEMBERED`].
    #[must_use]
    pub fn remembering(self, records: usize) -> Self {
        Self {
            remembered: records.max(1),
            ..self
        }
    }

    /// The next record.
    pub fn take(&mut self, record: &Sighting<'_>) -> Sighted {
        if !self.tails.contains_key(record.source) {
            self.tails.insert(record.source.to_owned(), Tail::default());
        }
        let Some(Tail { records, is_cut }) = self.tails.get_mut(record.source) else {
            return Sighted::New;
        };
        let last = records.back().map(|(position, _)| *position);
        if let Some(last) = last.filter(|last| record.sequence <= *last) {
            return match records.binary_search_by_key(&record.sequence, |(position, _)| *position) {
                Ok(index) if records[index].1 == record.digest => Sighted::Again,
                Ok(_) => Sighted::Altered,
                Err(0) if *is_cut => Sighted::Forgotten { last },
                Err(_) => Sighted::Overtaken { by: last },
            };
        }
        if records.len() >= self.remembered {
            records.pop_front();
            *is_cut = true;
        }
        records.push_back((record.sequence, record.digest));
        match record.previous {
            Some(previous) if last.map_or(self.from_start, |last| previous > last) => {
                Sighted::AfterHole { last, previous }
            }
            _ => Sighted::New,
        }
    }
}

/// The events that one outbox told about one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyOrder {
    epoch: u32,
    position: u64,
}

impl KeyOrder {
    /// The epoch of the last one that said something; 0 if none has.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The next one. Whether it comes in the order in which the events were committed.
    ///
    /// What a relay sends again after it was parked has the number of its place in the replay (`is_replay`), and what
    /// it sends again after a restore is old: nothing can be said of these.
    pub fn take(&mut self, at: Position, is_replay: bool) -> bool {
        if is_replay {
            return true;
        }
        let in_order = at.epoch != self.epoch || at.position > self.position;
        if in_order {
            *self = Self {
                epoch: at.epoch,
                position: at.position,
            };
        }
        in_order
    }
}

/// A number for what a record says. Different in different builds: not for keeping.
pub fn digest<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for part in parts {
        hasher.write_usize(part.len());
        hasher.write(part);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(window: u64, position: u64) -> Position {
        Position::new(1, window, position)
    }

    fn record(sequence: Position, previous: Option<Position>, digest: u64) -> Sighting<'static> {
        Sighting {
            source: "/order",
            sequence,
            previous,
            digest,
        }
    }

    /// A partition in which windows 1 to 3 stand, one record each.
    fn three() -> Partition {
        let mut partition = Partition::new(true);
        let mut previous = None;
        for n in 1..=3 {
            assert_eq!(partition.take(&record(at(n, n), previous, n)), Sighted::New);
            previous = Some(at(n, n));
        }
        partition
    }

    #[test]
    fn a_relay_that_begins_again_repeats_itself_and_goes_on() {
        let mut partition = three();
        assert_eq!(partition.take(&record(at(2, 2), None, 2)), Sighted::Again);
        assert_eq!(
            partition.take(&record(at(3, 3), Some(at(2, 2)), 3)),
            Sighted::Again
        );
        assert_eq!(partition.take(&record(at(4, 4), Some(at(3, 3)), 4)), Sighted::New);
    }

    #[test]
    fn each_wrong_is_found() {
        assert_eq!(three().take(&record(at(2, 2), None, 99)), Sighted::Altered);
        assert_eq!(
            three().take(&record(at(2, 5), None, 5)),
            Sighted::Overtaken { by: at(3, 3) }
        );
        assert_eq!(
            three().take(&record(at(5, 5), Some(at(4, 4)), 5)),
            Sighted::AfterHole {
                last: Some(at(3, 3)),
                previous: at(4, 4)
            }
        );
    }

    #[test]
    fn what_the_broker_let_go_is_no_hole() {
        let first = record(at(9, 9), Some(at(8, 8)), 9);
        assert_eq!(Partition::new(false).take(&first), Sighted::New);
        assert_eq!(
            Partition::new(true).take(&first),
            Sighted::AfterHole {
                last: None,
                previous: at(8, 8)
            }
        );
    }

    #[test]
    fn each_outbox_has_its_own_order() {
        let mut partition = three();
        let other = Sighting {
            source: "/payment",
            ..record(at(1, 1), None, 1)
        };
        assert_eq!(partition.take(&other), Sighted::New);
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_said_of_what_is_forgotten() {
        let mut partition = Partition::new(true).remembering(2);
        for n in 1..=3 {
            partition.take(&record(at(n, n), None, n));
        }
        assert_eq!(partition.take(&record(at(2, 2), None, 2)), Sighted::Again);
        assert_eq!(
            partition.take(&record(at(1, 1), None, 1)),
            Sighted::Forgotten { last: at(3, 3) }
        );
    }

    #[test]
    fn a_key_is_in_order_unless_a_later_window_has_an_earlier_commit() {
        let mut order = KeyOrder::default();
        assert!(order.take(at(1, 10), false));
        assert!(order.take(at(2, 1), true), "a replay counts its own places");
        assert!(!order.take(at(3, 7), false));
        assert!(order.take(at(4, 11), false));
        assert!(
            order.take(Position::new(2, 5, 3), false),
            "after a restore old ones come again"
        );
    }

    #[test]
    fn a_digest_tells_apart_what_is_cut_elsewhere() {
        let [ab_c, a_bc] = [["ab", "c"], ["a", "bc"]].map(|parts| digest(parts.map(str::as_bytes)));
        assert_ne!(ab_c, a_bc);
    }
}
