use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use rdkafka::error::RDKafkaErrorCode;
use saga_core::position::Position;
use tokio::sync::Notify;

use super::topics::TopicId;

/// An event on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) topic: TopicId,
    pub(crate) partition: i32,
    pub(crate) position: Position,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) bytes: usize,
    /// The broker has it already, so it is not sent: it counts as acknowledged, in its place. Or it was set aside by somebody
    /// before, and discarded since; so nothing names it as what comes before.
    pub(crate) had: bool,
}

/// The first event, in the order of sending, that the broker refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) ordinal: usize,
    pub(crate) position: Position,
    pub(crate) code: RDKafkaErrorCode,
}

/// What room for so many takes is kept; of a hundred outboxes that have had a backlog, more would be half of the process.
const KEPT: usize = 1024;

/// The events that one producer instance was given: one countdown for all, and the prefix that was
/// acknowledged without a gap.
///
/// An event's *ordinal* counts what this instance was given; it travels as the delivery opaque.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    state: Mutex<State>,
    changed: Notify,
    /// Nothing more is to be sent: the lease is lost or the producer broken.
    grounded: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Ordinal of the first entry.
    base: usize,
    /// From the first event that is not acknowledged on.
    entries: VecDeque<(Sent, Fate)>,
    unreported: usize,
    unreported_bytes: usize,
    refused: Option<Refused>,
    /// When the waiter is woken.
    wake: Wake,
    /// Last acknowledged position per topic and partition.
    tails: Tails,
    /// The last event of the contiguous prefix.
    acked: Option<Position>,
}

/// What a waiter wants to be told of; of a refusal it always is.
#[derive(Debug, Clone, Copy)]
enum Wake {
    /// No more than so many events are without a report.
    Unreported(usize),
    /// The acknowledged prefix reaches this ordinal.
    Prefix(usize),
}

impl Default for Wake {
    fn default() -> Self {
        Self::Unreported(0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unknown,
    Acknowledged,
    Refused,
}

/// Of an event that is not sent: it is not known where keys of its topic go.
pub(crate) const ANY_PARTITION: i32 = -1;

/// The last position that went to each partition: what `ce_previoussequence` names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tails(Vec<Vec<Option<Position>>>);

impl Tails {
    /// Sets a partition's last position and returns the one before, if it is known.
    pub(crate) fn advance(&mut self, topic: TopicId, partition: i32, position: Position) -> Option<Position> {
        self.of(topic, partition).replace(position)
    }

    /// What comes next in a partition, or in any of a topic's, names nothing before it.
    pub(crate) fn forget(&mut self, topic: TopicId, partition: i32) {
        match partition {
            ANY_PARTITION => {
                if let Some(partitions) = self.0.get_mut(topic.0) {
                    partitions.clear();
                }
            }
            _ => *self.of(topic, partition) = None,
        }
    }

    fn of(&mut self, topic: TopicId, partition: i32) -> &mut Option<Position> {
        let partition = usize::try_from(partition).unwrap_or(0);
        if self.0.len() <= topic.0 {
            self.0.resize_with(topic.0 + 1, Vec::new);
        }
        let partitions = &mut self.0[topic.0];
        if partitions.len() <= partition {
            partitions.resize(partition + 1, None);
        }
        &mut partitions[partition]
    }
}

impl State {
    /// Moves the prefix over what is acknowledged.
    fn advance(&mut self) {
        while let Some((sent, Fate::Acknowledged)) = self.entries.front().copied() {
            match sent.had {
                true => self.tails.forget(sent.topic, sent.partition),
                false => drop(self.tails.advance(sent.topic, sent.partition, sent.position)),
            }
            self.acked = Some(sent.position);
            self.entries.pop_front();
            self.base += 1;
        }
        if self.entries.is_empty() && self.entries.capacity() > KEPT {
            self.entries = VecDeque::new();
        }
    }
}

impl Flight {
    /// An empty one, for an instance that goes on where another one ended.
    pub(crate) fn after(tails: Tails) -> Self {
        Self {
            state: Mutex::new(State {
                tails,
                ..State::default()
            }),
            ..Self::default()
        }
    }

    /// Takes up events before they are sent. Returns the ordinal of the first.
    pub(crate) fn take_up(&self, events: impl Iterator<Item = Sent>) -> usize {
        let mut state = self.lock();
        let first = state.base + state.entries.len();
        for sent in events {
            if sent.had {
                state.entries.push_back((sent, Fate::Acknowledged));
                continue;
            }
            state.unreported += 1;
            state.unreported_bytes += sent.bytes;
            state.entries.push_back((sent, Fate::Unknown));
        }
        state.advance();
        first
    }

    /// Notes what became of an event. Called by the producer's polling thread, once per event.
    pub(crate) fn report(&self, ordinal: usize, outcome: Result<(), RDKafkaErrorCode>) {
        let mut state = self.lock();
        let Some(index) = ordinal.checked_sub(state.base) else {
            return;
        };
        let Some((sent, fate @ Fate::Unknown)) = state.entries.get_mut(index) else {
            return;
        };
        let sent = *sent;
        *fate = match outcome {
            Ok(()) => Fate::Acknowledged,
            Err(_) => Fate::Refused,
        };
        state.unreported -= 1;
        state.unreported_bytes -= sent.bytes;
        if let Err(code) = outcome {
            let refused = Refused {
                ordinal,
                position: sent.position,
                code,
            };
            if state.refused.is_none_or(|known| known.comes_after(&refused)) {
                state.refused = Some(refused);
            }
        }
        state.advance();
        let wake = state.refused.is_some()
            || match state.wake {
                Wake::Unreported(most) => state.unreported <= most,
                Wake::Prefix(end) => state.base >= end,
            };
        drop(state);
        if wake {
            self.changed.notify_one();
        }
    }

    /// Waits until there is room for `events` and `bytes`, or until nothing is in flight at all.
    ///
    /// # Errors
    /// As soon as an event was refused.
    pub(crate) async fn room(
        &self,
        events: usize,
        bytes: usize,
        most: (usize, usize),
    ) -> Result<(), Refused> {
        self.wait(|state| {
            if let Some(refused) = state.refused {
                return Ok(Err(refused));
            }
            if state.unreported == 0 {
                return Ok(Ok(()));
            }
            if state.unreported_bytes + bytes > most.1 {
                // Events differ in size: look again when half of them have gone.
                return Err(Wake::Unreported(state.unreported / 2));
            }
            let threshold = most.0.saturating_sub(events);
            if state.unreported <= threshold {
                Ok(Ok(()))
            } else {
                Err(Wake::Unreported(threshold))
            }
        })
        .await
    }

    /// Waits until all of these events, counted from `first`, are acknowledged.
    ///
    /// # Errors
    /// As soon as an event was refused.
    pub(crate) async fn reported(&self, first: usize, indices: &[usize]) -> Result<(), Refused> {
        self.wait(|state| {
            if let Some(refused) = state.refused {
                return Ok(Err(refused));
            }
            let acknowledged = |index: &usize| match (first + index).checked_sub(state.base) {
                // It is part of the prefix by now.
                None => true,
                Some(entry) => matches!(state.entries.get(entry), Some((_, Fate::Acknowledged))),
            };
            // To be asked again at each report: there are few.
            if indices.iter().all(acknowledged) {
                Ok(Ok(()))
            } else {
                Err(Wake::Unreported(usize::MAX))
            }
        })
        .await
    }

    /// Waits until every event is acknowledged.
    ///
    /// # Errors
    /// As soon as an event was refused.
    pub(crate) async fn settled(&self) -> Result<(), Refused> {
        self.wait(|state| match state.refused {
            Some(refused) => Ok(Err(refused)),
            None if state.unreported == 0 => Ok(Ok(())),
            None => Err(Wake::Unreported(0)),
        })
        .await
    }

    /// Waits until the acknowledged prefix reaches an ordinal.
    ///
    /// # Errors
    /// As soon as an event was refused, be it behind the ordinal.
    pub(crate) async fn reached(&self, end: usize) -> Result<(), Refused> {
        self.wait(|state| match state.refused {
            _ if state.base >= end => Ok(Ok(())),
            Some(refused) => Ok(Err(refused)),
            None => Err(Wake::Prefix(end)),
        })
        .await
    }

    /// The ordinal that the acknowledged prefix ends before.
    pub(crate) fn prefix(&self) -> usize {
        self.lock().base
    }

    /// The ordinal of the event that is taken up next.
    pub(crate) fn end(&self) -> usize {
        let state = self.lock();
        state.base + state.entries.len()
    }

    /// Waits until every event has its report, refused or not.
    pub(crate) async fn drained(&self) {
        self.wait(|state| match state.unreported {
            0 => Ok(()),
            _ => Err(Wake::Unreported(0)),
        })
        .await;
    }

    /// Waits for an answer; until there is one, it is asked again when it wants to be. There is one waiter at a time.
    async fn wait<T>(&self, ask: impl Fn(&State) -> Result<T, Wake>) -> T {
        loop {
            {
                let mut state = self.lock();
                match ask(&state) {
                    Ok(answer) => return answer,
                    Err(wake) => state.wake = wake,
                }
            }
            self.changed.notified().await;
        }
    }

    /// From now on nothing is to be sent.
    pub(crate) fn ground(&self) {
        self.grounded.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_grounded(&self) -> bool {
        self.grounded.load(Ordering::Relaxed)
    }

    /// The last event of the contiguous acknowledged prefix, if this instance has one.
    pub(crate) fn acked(&self) -> Option<Position> {
        self.lock().acked
    }

    /// What is acknowledged behind the first event that is not.
    pub(crate) fn acked_beyond(&self) -> Vec<Position> {
        let state = self.lock();
        let acknowledged = state
            .entries
            .iter()
            .filter(|(_, fate)| *fate == Fate::Acknowledged);
        acknowledged.map(|(sent, _)| sent.position).collect()
    }

    /// When the oldest event that was not acknowledged came to be.
    pub(crate) fn oldest(&self) -> Option<DateTime<Utc>> {
        self.lock().entries.front().map(|(sent, _)| sent.created_at)
    }

    pub(crate) fn unreported(&self) -> usize {
        self.lock().unreported
    }

    /// The last acknowledged position of each partition.
    pub(crate) fn tails(&self) -> Tails {
        self.lock().tails.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refused {
    /// What was thrown away because of another event's error says nothing about itself, so any other
    /// refusal comes before it; else the order of sending counts.
    fn comes_after(&self, other: &Refused) -> bool {
        let key = |refused: &Refused| (is_consequence(refused.code), refused.ordinal);
        key(self) > key(other)
    }
}

/// Codes that an event gets because of another one.
pub(crate) fn is_consequence(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight | RDKafkaErrorCode::Fatal
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(position: u64) -> Sent {
        Sent {
            topic: TopicId(0),
            partition: 0,
            position: Position::new(1, 1, position),
            created_at: DateTime::UNIX_EPOCH,
            bytes: 10,
            had: false,
        }
    }

    #[test]
    fn the_prefix_has_no_gap() {
        let flight = Flight::default();
        assert_eq!(flight.take_up((1..=3).map(sent)), 0);
        flight.report(1, Ok(()));
        flight.report(2, Ok(()));
        assert_eq!(flight.acked(), None);
        assert_eq!(flight.acked_beyond(), [2, 3].map(|n| Position::new(1, 1, n)));
        flight.report(0, Ok(()));
        assert_eq!(flight.acked_beyond(), []);
        assert_eq!(flight.acked(), Some(Position::new(1, 1, 3)));
        assert_eq!(flight.take_up([sent(4)].into_iter()), 3);
        assert_eq!(flight.unreported(), 1);
    }

    #[test]
    fn what_the_broker_has_is_acknowledged_in_its_place() {
        let flight = Flight::default();
        let had = |position| Sent {
            had: true,
            ..sent(position)
        };
        flight.take_up([had(1), sent(2), had(3)].into_iter());
        assert_eq!((flight.prefix(), flight.unreported()), (1, 1));
        assert_eq!(flight.acked(), Some(Position::new(1, 1, 1)));
        flight.report(1, Ok(()));
        assert_eq!(flight.acked(), Some(Position::new(1, 1, 3)));
        let next = |flight: &Flight| flight.tails().advance(TopicId(0), 0, Position::new(1, 1, 9));
        assert_eq!(next(&flight), None);
        flight.take_up([sent(4)].into_iter());
        flight.report(3, Ok(()));
        assert_eq!(next(&flight), Some(Position::new(1, 1, 4)));
        let anywhere = Sent {
            partition: ANY_PARTITION,
            ..had(5)
        };
        flight.take_up([anywhere].into_iter());
        assert_eq!(next(&flight), None);
    }

    #[test]
    fn the_culprit_is_the_first_that_failed_by_itself() {
        let flight = Flight::default();
        flight.take_up((1..=4).map(sent));
        flight.report(0, Ok(()));
        flight.report(3, Err(RDKafkaErrorCode::PurgeQueue));
        flight.report(2, Err(RDKafkaErrorCode::MessageSizeTooLarge));
        flight.report(1, Err(RDKafkaErrorCode::PurgeInflight));
        let refused = flight.lock().refused.expect("three were refused");
        assert_eq!(refused.position, Position::new(1, 1, 3));
        assert_eq!(flight.acked(), Some(Position::new(1, 1, 1)));
        assert_eq!(flight.unreported(), 0);
    }

    #[tokio::test]
    async fn waits_for_a_prefix_while_more_is_on_its_way() {
        let flight = std::sync::Arc::new(Flight::default());
        flight.take_up((1..=10).map(sent));
        let end = flight.end();
        flight.take_up((11..=12).map(sent));
        let waiting = tokio::spawn({
            let flight = flight.clone();
            async move { flight.reached(end).await }
        });
        for ordinal in (0..10).rev() {
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            flight.report(ordinal, Ok(()));
        }
        waiting.await.expect("no panic").expect("nothing was refused");
        assert_eq!((flight.prefix(), flight.end()), (10, 12));
        flight.report(11, Err(RDKafkaErrorCode::MessageSizeTooLarge));
        flight.reached(end).await.expect("it stays reached");
        flight.reached(end + 1).await.expect_err("refused behind it");
    }

    #[tokio::test]
    async fn waits_for_room_and_for_the_end() {
        let flight = std::sync::Arc::new(Flight::default());
        flight.take_up((1..=10).map(sent));
        let waiting = tokio::spawn({
            let flight = flight.clone();
            async move {
                flight.room(5, 0, (10, 1000)).await?;
                flight.settled().await
            }
        });
        for ordinal in 0..10 {
            tokio::task::yield_now().await;
            flight.report(ordinal, Ok(()));
        }
        waiting.await.expect("no panic").expect("nothing was refused");
    }
}
