//! Between the polling thread and a worker: in order, counted, and joined to batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::consumer::worker::Message;
use crate::record::Record;

/// What was sent and is not done.
#[derive(Debug, Default)]
struct Waiting {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// The polling thread's end. It never waits; whoever fills it looks at [`waiting`](Self::waiting), and reads no more
/// when that is too much.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    messages: UnboundedSender<Message>,
    waiting: Arc<Waiting>,
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct Receiver {
    messages: UnboundedReceiver<Message>,
    waiting: Arc<Waiting>,
    batch_max: usize,
    /// Taken already, and not to be joined with what came before.
    next: Option<Message>,
}

/// Both ends. Records that wait together are taken together, up to `batch_max`.
pub(crate) fn queue(batch_max: usize) -> (Sender, Receiver) {
    let (messages, incoming) = unbounded_channel();
    let waiting = Arc::<Waiting>::default();
    let receiver = Receiver {
        messages: incoming,
        waiting: Arc::clone(&waiting),
        batch_max,
        next: None,
    };
    let sender = Sender { messages, waiting };
    (sender, receiver)
}

impl Sender {
    /// Puts a message behind the others.
    pub(crate) fn send(&self, message: Message) {
        if let Message::Records(records) = &message {
            self.waiting.records.fetch_add(records.len(), Ordering::Relaxed);
            self.waiting.bytes.fetch_add(bytes_of(records), Ordering::Relaxed);
        }
        // Without a worker it goes nowhere, which `is_gone` says.
        drop(self.messages.send(message));
    }

    /// Records that were sent and are not done.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.records.load(Ordering::Relaxed)
    }

    /// How many bytes these are: a thousand records of a megabyte are few records.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting.bytes.load(Ordering::Relaxed)
    }

    /// Whether the worker has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.messages.is_closed()
    }
}

impl Receiver {
    /// The next message. While a batch commits, what comes in comes in small pieces, and a commit costs nearly the
    /// same for one record as for many: so pieces are joined.
    pub(crate) async fn take(&mut self) -> Option<Message> {
        let first = match self.next.take() {
            Some(message) => message,
            None => self.messages.recv().await?,
        };
        let Message::Records(mut records) = first else {
            return Some(first);
        };
        while records.len() < self.batch_max {
            match self.messages.try_recv() {
                Ok(Message::Records(more)) if records.len() + more.len() <= self.batch_max => {
                    records.extend(more)
                }
                Ok(other) => {
                    self.next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        Some(Message::Records(records))
    }

    /// These records need no more room.
    pub(crate) fn done(&self, records: &[Arc<Record>]) {
        self.waiting.records.fetch_sub(records.len(), Ordering::Relaxed);
        self.waiting.bytes.fetch_sub(bytes_of(records), Ordering::Relaxed);
    }
}

fn bytes_of(records: &[Arc<Record>]) -> usize {
    records.iter().map(|record| record.bytes()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(offsets: std::ops::Range<i64>) -> Message {
        let record = |offset| {
            Arc::new(Record {
                topic: "t".to_owned(),
                partition: 0,
                offset,
                timestamp_ms: None,
                key: None,
                headers: Vec::new(),
                payload: None,
            })
        };
        Message::Records(offsets.map(record).collect())
    }

    async fn offsets(receiver: &mut Receiver) -> Option<Vec<i64>> {
        match receiver.take().await {
            Some(Message::Records(records)) => Some(records.iter().map(|record| record.offset).collect()),
            _ => None,
        }
    }

    #[tokio::test]
    async fn pieces_are_joined_up_to_a_batch_and_never_across_a_rebalance() {
        let (sender, mut receiver) = queue(5);
        for message in [
            records(0..2),
            records(2..4),
            records(4..6),
            Message::Revoked(Vec::new()),
            records(6..7),
            records(7..17),
        ] {
            sender.send(message);
        }
        assert_eq!(sender.waiting(), 17);
        assert_eq!(offsets(&mut receiver).await, Some(vec![0, 1, 2, 3]));
        let Message::Records(done) = records(0..4) else {
            unreachable!("these are records")
        };
        let each = sender.waiting_bytes() / 17;
        assert!(each > 0);
        receiver.done(&done);
        assert_eq!((sender.waiting(), sender.waiting_bytes()), (13, 13 * each));
        assert_eq!(offsets(&mut receiver).await, Some(vec![4, 5]));
        assert_eq!(offsets(&mut receiver).await, None, "the rebalance");
        assert_eq!(offsets(&mut receiver).await, Some(vec![6]));
        assert_eq!(
            offsets(&mut receiver).await,
            Some((7..17).collect()),
            "as it came"
        );
        assert!(!sender.is_gone());
        drop(receiver);
        assert!(sender.is_gone());
    }
}
