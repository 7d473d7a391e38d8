//! From a Kafka record to an entry of a batch: read, recognised, or found wanting. Pure.

use std::sync::Arc;

use saga_core::input::InputKind;
use saga_core::{Envelope, Inputs, Participant, Position};
use uuid::Uuid;

use crate::engine::batch::{Entry, Origin, What};
use crate::engine::offsets::Place;
use crate::record::{KEY_MAX_BYTES, Record};

/// What a record is to a consumer that stands at a certain place.
#[derive(Debug)]
pub(crate) enum Reading<P: Participant> {
    /// To be put into the batch.
    Entry(Entry<P>),
    /// Records before it are missing: the partition stops, since a hole must never be silent.
    Hole {
        source: String,
        last: Position,
        previous: Position,
    },
}

/// Reads a record without asking where the consumer stands.
pub(crate) fn entry<P: Participant>(participant: &P, prefix: &str, record: &Arc<Record>) -> Entry<P> {
    read(participant, prefix, record).0
}

/// Reads a record, with the position that it has and what came before it.
pub(crate) fn read<P: Participant>(
    participant: &P,
    prefix: &str,
    record: &Arc<Record>,
) -> (Entry<P>, Option<Envelope>) {
    let origin = Origin::Record {
        record: Arc::clone(record),
        applied: None,
        inbox: None,
    };
    let envelope = match Envelope::from_headers(record.headers()) {
        Ok(envelope) => envelope,
        Err(malformed) => {
            let what = What::Undecodable {
                reason: malformed.to_string(),
            };
            return (
                Entry {
                    what,
                    origin,
                    id: coordinates(record),
                    traceparent: None,
                },
                None,
            );
        }
    };
    let data = record.payload.as_deref().unwrap_or_default();
    let what = match P::Input::from_event(&envelope.r#type, envelope.version, data) {
        Ok(Some(input)) => recognised(participant, prefix, record, input),
        Ok(None) => What::Pass,
        Err(error) => What::Undecodable {
            reason: chain(&error),
        },
    };
    let entry = Entry {
        what,
        origin,
        id: envelope.id,
        traceparent: envelope.traceparent.clone(),
    };
    (entry, Some(envelope))
}

/// Reads a record at `place`: what was applied before passes, what lacks its predecessor stops.
pub(crate) fn at<P: Participant>(
    participant: &P,
    prefix: &str,
    record: &Arc<Record>,
    place: &Place,
) -> Reading<P> {
    let (mut entry, envelope) = read(participant, prefix, record);
    let Some(envelope) = envelope else {
        return Reading::Entry(entry);
    };
    let Origin::Record { applied, inbox, .. } = &mut entry.origin else {
        return Reading::Entry(entry);
    };
    let Some(sequence) = envelope.sequence else {
        *inbox = Some((envelope.source, envelope.id.to_string()));
        return Reading::Entry(entry);
    };
    if let Some(last) = place.last.get(&envelope.source) {
        if sequence <= *last {
            entry.what = What::Pass;
            return Reading::Entry(entry);
        }
        if let Some(previous) = envelope.previous
            && previous > *last
        {
            return Reading::Hole {
                source: envelope.source,
                last: *last,
                previous,
            };
        }
    }
    *applied = Some((envelope.source, sequence));
    Reading::Entry(entry)
}

/// An event of ours, if it came where and as it should.
fn recognised<P: Participant>(participant: &P, prefix: &str, record: &Record, input: P::Input) -> What<P> {
    let undecodable = |reason| What::Undecodable { reason };
    // Who may write to one topic must not speak for those who write to the others, and between topics there is no order.
    // Parked rather than ignored: it may be its producer's mistake, and then it is not lost.
    if let InputKind::Event { topic, .. } = input.spec().kind
        && record.topic.strip_prefix(prefix) != Some(topic)
    {
        return undecodable(format!(
            "{} belongs to the topic {prefix}{topic}, and came on {}",
            input.spec().name,
            record.topic
        ));
    }
    let saga = participant.key(&input);
    if let Some(key) = &saga {
        let text = key.to_string();
        if record.key.as_deref() != Some(text.as_bytes()) {
            return undecodable(format!(
                "the event is about {key}, and the record's key is another; its order is not assured"
            ));
        }
        // A longer one could not be looked for where only its hash stands.
        if text.len() > KEY_MAX_BYTES {
            return undecodable(format!("the key of a saga has at most {KEY_MAX_BYTES} bytes"));
        }
    }
    What::Input { input, saga }
}

/// An id for what has none: the same record has the same.
fn coordinates(record: &Record) -> Uuid {
    let name = format!("{}/{}/{}", record.topic, record.partition, record.offset);
    saga_core::id::of_output("", &name, Uuid::nil(), "record", 0)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
