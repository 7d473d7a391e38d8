use std::collections::HashMap;
use std::sync::Arc;

use quadrille_process::fault::POSSIBLE;
use rdkafka::producer::BaseRecord;
use saga_core::partitioner::partition_for;
use saga_core::position::Position;

use crate::kafka::flight::{ANY_PARTITION, Refused, Sent, Tails};
use crate::kafka::primed::Primed;
use crate::kafka::producer::Sender;
use crate::kafka::record::Encoder;
use crate::kafka::refusal::Unsendable;
use crate::kafka::topics::Topic;
use crate::options::SourceName;
use crate::outbox::error::OutboxError;
use crate::outbox::read::{Chunk, Event};
use crate::trace;

/// A piece of a window on its way to the producer.
pub(crate) struct Sending {
    pub(crate) sender: Sender,
    pub(crate) source: SourceName,
    pub(crate) topics: Arc<HashMap<String, Topic>>,
    /// Whether somebody collects spans.
    pub(crate) spans: bool,
    /// Whether an event's size can be judged before it is sent.
    pub(crate) judge_size: bool,
    pub(crate) epoch: u32,
    pub(crate) window: i64,
    /// Whether what was parked is sent again.
    pub(crate) replay: bool,
    pub(crate) tails: Tails,
    pub(crate) primed: Primed,
    pub(crate) chunk: Arc<Chunk>,
    /// Events of it that are set aside, by index, in ascending order.
    pub(crate) aside: Vec<usize>,
    /// Events of it that the broker has already, likewise. They are not sent, and have their place among the others.
    pub(crate) had: Vec<usize>,
    /// It is part of a transaction: what is behind a refused event will not be seen.
    pub(crate) in_transaction: bool,
    /// A test wants nothing of it to arrive.
    pub(crate) refuse: bool,
}

/// What came of it.
pub(crate) struct HandedOver {
    pub(crate) tails: Tails,
    pub(crate) primed: Primed,
    /// The first event that cannot be sent. Nothing from there on was.
    pub(crate) cut: Option<Cut>,
}

/// The broker refused an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) refused: Refused,
    /// No other event of its partition was on the way: so it is the event's fault and not its batch's, and none behind
    /// it was written.
    pub(crate) alone: bool,
}

/// An event that need not be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) position: i64,
    pub(crate) why: Unsendable,
}

/// Where the events of a piece go.
struct Addressed {
    /// In the chunk.
    indices: Vec<usize>,
    sent: Vec<Sent>,
    cut: Option<Cut>,
}

/// From here on, encoding takes long enough to keep other tasks waiting.
const LARGE: usize = 64;

impl Sending {
    /// Hands the piece to the producer.
    ///
    /// # Errors
    /// In the inner result, if the first event of a partition is refused. Then nothing else of the piece
    /// was sent.
    pub(crate) async fn run(mut self) -> Result<Result<HandedOver, Rejected>, OutboxError> {
        let Addressed { indices, sent, cut } = self.address_all()?;
        let first = self.sender.take_up(&sent);
        let openers = if self.in_transaction {
            Vec::new()
        } else {
            self.primed.openers(&sent)
        };
        // In each partition it comes before whatever is sent, the opener as well.
        for had in sent.iter().filter(|sent| sent.had) {
            self.tails.forget(had.topic, had.partition);
        }
        self.hand_over((&indices, &sent), first, openers.iter().copied())?;
        if let Err(refused) = self.sender.reported(first, &openers).await {
            for index in (0..sent.len()).filter(|index| openers.binary_search(index).is_err()) {
                self.sender.discard(first + index);
            }
            let alone = refused
                .ordinal
                .checked_sub(first)
                .is_some_and(|index| openers.binary_search(&index).is_ok());
            return Ok(Err(Rejected { refused, alone }));
        }
        let small = sent.len() < LARGE;
        let rest = move || {
            let others = (0..sent.len()).filter(|index| openers.binary_search(index).is_err());
            self.hand_over((&indices, &sent), first, others)?;
            Ok(Ok(HandedOver {
                tails: self.tails,
                primed: self.primed,
                cut,
            }))
        };
        if small {
            return rest();
        }
        match tokio::task::spawn_blocking(rest).await {
            Ok(handed_over) => handed_over,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Where each event goes that is not set aside, up to the first that cannot be sent.
    fn address_all(&self) -> Result<Addressed, OutboxError> {
        let mut addressed = Addressed {
            indices: Vec::with_capacity(self.chunk.len()),
            sent: Vec::with_capacity(self.chunk.len()),
            cut: None,
        };
        let mut before: Option<(&str, &Topic)> = None;
        for index in 0..self.chunk.len() {
            if self.aside.binary_search(&index).is_ok() {
                continue;
            }
            let event = self.chunk.event(index)?;
            // Neighbours often go to the same one.
            let topic = match before {
                Some((name, topic)) if name == event.topic => Some(topic),
                _ => self.topics.get(event.topic),
            };
            before = topic.map(|topic| (event.topic, topic));
            let had = self.had.binary_search(&index).is_ok();
            match self.address(&event, topic, had) {
                Ok(event) => {
                    addressed.indices.push(index);
                    addressed.sent.push(event);
                }
                Err(why) => {
                    let position = event.position;
                    addressed.cut = Some(Cut { position, why });
                    break;
                }
            }
        }
        Ok(addressed)
    }

    /// Where an event goes, or why it cannot.
    fn address(&self, event: &Event<'_>, topic: Option<&Topic>, had: bool) -> Result<Sent, Unsendable> {
        let topic = topic.ok_or(Unsendable::NoSuchTopic)?;
        if let Some(why) = topic.unsendable.as_ref().filter(|_| !had) {
            return Err(why.clone());
        }
        // The least that it can take on the wire.
        let bytes = event.payload.map_or(0, <[u8]>::len) + event.key.len();
        if !had && self.judge_size && topic.max_message_bytes.is_some_and(|limit| bytes > limit) {
            return Err(Unsendable::TooLarge {
                limit: topic.max_message_bytes,
            });
        }
        Ok(Sent {
            topic: topic.id,
            partition: match topic.unsendable {
                Some(_) => ANY_PARTITION,
                None => partition_for(event.key.as_bytes(), topic.partitions),
            },
            position: Position::new(
                self.epoch,
                // Neither is ever negative: a clock in microseconds, and a sequence.
                u64::try_from(self.window).unwrap_or(0),
                u64::try_from(event.position).unwrap_or(0),
            ),
            created_at: event.created_at,
            bytes: bytes + event.headers.len(),
            had,
        })
    }

    fn hand_over(
        &mut self,
        (in_chunk, sent): (&[usize], &[Sent]),
        first: usize,
        indices: impl Iterator<Item = usize>,
    ) -> Result<(), OutboxError> {
        let mut encoder = Encoder::new(self.source.as_str(), self.replay);
        for index in indices {
            let sent = &sent[index];
            if sent.had {
                continue;
            }
            if POSSIBLE && self.refuse {
                self.sender.refuse(first + index);
                continue;
            }
            let event = self.chunk.event(in_chunk[index])?;
            let previous = self.tails.advance(sent.topic, sent.partition, sent.position);
            let hop = self
                .spans
                .then(|| trace::send_span(&self.source, &event))
                .flatten();
            let headers = encoder.headers(&event, sent.position, previous, hop.as_deref());
            let mut record = BaseRecord::with_opaque_to(event.topic, first + index)
                .key(event.key)
                .partition(sent.partition)
                .headers(headers);
            if let Some(payload) = event.payload {
                record = record.payload(payload);
            }
            self.sender.send(first + index, record);
        }
        Ok(())
    }
}
