//! Whether the events of an order were told in their order, and each once.

use saga_core::position::Position;

use super::life::{Events, Life, Place};

/// An event of an order, for its place among the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) sequence: Position,
    pub(super) is_replay: bool,
}

/// Notes the events of an order that has moved as if they had been read in the order in which they were told.
pub(super) fn in_order(life: &mut Life, topic: usize, told: &[Told]) -> Vec<(String, &'static str, String)> {
    let mut again = Life::default();
    let mut wrong = Vec::new();
    for told in told {
        let found = note(&mut again, topic, told).into_iter();
        let place = || format!("{}@{}", told.partition, told.offset);
        wrong.extend(found.map(|(name, detail)| (place(), name, detail)));
    }
    life.told[topic] = again.told[topic];
    life.next[topic] = again.next[topic];
    wrong
}

/// Notes an event that is news, and says what is wrong with its order.
pub(super) fn note(life: &mut Life, topic: usize, told: &Told) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    let event = Events::of(&told.name);
    let again = life.seen.has(event);
    life.next[topic] = Place::behind(told.partition, told.offset);
    life.seen.add(event);
    let was = life.told[topic];
    let same_epoch = was == Default::default() || was.epoch() == told.sequence.epoch;
    if !life.told[topic].take(told.sequence, told.is_replay) {
        wrong.push((
            "out_of_order",
            format!("{} stands behind what was committed after it", told.name),
        ));
    // After a restore old ones come again, and a refund may fail more than once.
    } else if again && same_epoch && told.name != REPEATABLE {
        wrong.push((
            "told_twice",
            format!("{} was told before under another position", told.name),
        ));
    }
    wrong
}

/// Each replay of a refund may end with it.
const REPEATABLE: &str = "payment.refund_failed";

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::moved::Moved;
    use super::*;

    fn told(name: &str, partition: i32, is_replay: bool, sequence: Position) -> Told {
        Told {
            name: name.to_owned(),
            partition,
            offset: i64::try_from(sequence.window).unwrap(),
            sequence,
            is_replay,
        }
    }

    fn wrong(events: &[(&'static str, bool, Position)]) -> Vec<&'static str> {
        let mut life = Life::default();
        let mut all = Vec::new();
        for (name, replay, at) in events {
            all.extend(note(&mut life, 0, &told(name, 0, *replay, *at)));
        }
        all.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn an_order_is_told_of_once_and_in_order() {
        let at = |window, position| Position::new(1, window, position);
        let restored = Position::new(2, 9, 1);
        let (created, confirmed, failed) = ("order.created", "order.confirmed", "payment.refund_failed");
        assert_eq!(
            wrong(&[(created, false, at(1, 5)), (confirmed, false, at(2, 9))]),
            [""; 0]
        );
        assert_eq!(
            wrong(&[(created, false, at(1, 5)), (confirmed, false, at(2, 3))]),
            ["out_of_order"]
        );
        assert_eq!(
            wrong(&[(created, false, at(1, 5)), (created, false, at(2, 6))]),
            ["told_twice"]
        );
        assert_eq!(
            wrong(&[(created, false, at(1, 5)), (confirmed, true, at(2, 1))]),
            [""; 0]
        );
        assert_eq!(
            wrong(&[(created, false, at(1, 5)), (created, false, restored)]),
            [""; 0]
        );
        assert_eq!(
            wrong(&[(failed, false, at(1, 5)), (failed, false, at(2, 6))]),
            [""; 0]
        );
    }

    /// Partition 9 is the new one, and was read first.
    #[test]
    fn an_order_that_moved_is_told_of_in_the_order_of_positions() {
        let at = |window, position| Position::new(1, window, position);
        let (created, confirmed) = ("order.created", "order.confirmed");
        let moved = |events: &[(&'static str, i32, Position)]| {
            let mut moved = Moved::default();
            let id = Uuid::from_u128(1);
            moved.add(id, 0);
            for (name, partition, at) in events {
                moved.take(id, 0, "/order", told(name, *partition, false, *at));
            }
            let mut life = Life::default();
            let (_, told) = moved.merged().next().unwrap();
            let wrong = in_order(&mut life, 0, &told);
            let names: Vec<_> = wrong.into_iter().map(|(place, name, _)| (place, name)).collect();
            (names, life.next[0].partition())
        };
        let sound = [
            (confirmed, 9, at(2, 9)),
            (created, 3, at(1, 5)),
            (created, 3, at(1, 5)),
        ];
        assert_eq!(moved(&sound), (Vec::new(), 9));
        let reordered = [(confirmed, 9, at(2, 4)), (created, 3, at(1, 5))];
        assert_eq!(moved(&reordered).0, [("9@2".to_owned(), "out_of_order")]);
        // As it would be if a window were published again after the keys have moved.
        let twice = [(created, 9, at(1, 5)), (created, 3, at(1, 5))];
        assert_eq!(moved(&twice).0.len(), 1);
    }
}
