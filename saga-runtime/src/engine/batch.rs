//! What a transaction of the engine is about: entries in their order, and what they came as.

use std::sync::Arc;

use quadrille_process::fault::About;
use saga_core::{Inputs as _, Participant, Position};
use uuid::Uuid;

use crate::record::{self, Record};

/// One thing to be decided, or to be passed over, in the order in which it came.
#[derive(Debug)]
pub(crate) struct Entry<P: Participant> {
    pub(crate) what: What<P>,
    pub(crate) origin: Origin,
    /// Id of the input: what everything that comes of it is derived from.
    pub(crate) id: Uuid,
    /// Trace context that came with it.
    pub(crate) traceparent: Option<String>,
}

#[derive(Debug)]
pub(crate) enum What<P: Participant> {
    /// To be decided; `saga` is its key, if it has one.
    Input { input: P::Input, saga: Option<P::Key> },
    /// A record that could not be read: its key is parked.
    Undecodable { reason: String },
    /// Known already, or of a type that nobody here reads: only the offset moves.
    Pass,
}

#[derive(Debug)]
pub(crate) enum Origin {
    /// A Kafka record. `applied` is its position, by which a later redelivery is recognised.
    Record {
        record: Arc<Record>,
        applied: Option<(String, Position)>,
        inbox: Option<(String, String)>,
    },
    /// A parked record that is replayed: key and number in the quarantine.
    Parked {
        record: Arc<Record>,
        key: String,
        seq: i64,
    },
    /// A command, with what makes it idempotent.
    Command(Idempotency),
    /// A timer that is due; it counts only if the row with this id is still there.
    Timer { saga: String, name: String },
    /// An effect's outcome; it counts only under the number of the current claim.
    Outcome {
        effect: Uuid,
        claim_no: i64,
        exhausted: bool,
    },
    /// A timer or an outcome that could not be written: only its key is left, to be parked.
    Broken { key: String },
}

/// What makes a command the same command when it comes again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Idempotency {
    /// Whose command it is: keys of different callers do not meet.
    pub owner: String,
    /// Which RPC or endpoint.
    pub method: String,
    /// The caller's key, or one that the server made because none came.
    pub key: String,
    /// Hash of the request: the same key with another body is refused.
    pub fingerprint: Vec<u8>,
}

impl<P: Participant> Entry<P> {
    /// The text that the saga is quarantined under: the record's key, or the saga's.
    pub(crate) fn quarantine_key(&self) -> Option<String> {
        match (&self.origin, &self.what) {
            (Origin::Record { record, .. }, _) => Some(record.quarantine_key()),
            (Origin::Parked { key, .. } | Origin::Broken { key }, _) => Some(key.clone()),
            (_, What::Input { saga: Some(key), .. }) => {
                Some(record::quarantine_key(key.to_string().as_bytes()))
            }
            (_, What::Input { saga: None, .. } | What::Undecodable { .. } | What::Pass) => None,
        }
    }

    pub(crate) fn saga(&self) -> Option<&P::Key> {
        match &self.what {
            What::Input { saga, .. } => saga.as_ref(),
            What::Undecodable { .. } | What::Pass => None,
        }
    }
}

/// Whose inputs are in a batch, for fault points.
pub(crate) fn about<P: Participant>(entries: &[Entry<P>]) -> Vec<About> {
    entries.iter().filter_map(about_one).collect()
}

/// Those of them that came as records, and move an offset.
pub(crate) fn about_records<P: Participant>(entries: &[Entry<P>]) -> Vec<About> {
    let records = entries
        .iter()
        .filter(|entry| matches!(entry.origin, Origin::Record { .. }));
    records.filter_map(about_one).collect()
}

fn about_one<P: Participant>(entry: &Entry<P>) -> Option<About> {
    match &entry.what {
        What::Input { input, saga } => Some(About::new(saga.as_ref()?, input.spec().name)),
        What::Undecodable { .. } | What::Pass => None,
    }
}
