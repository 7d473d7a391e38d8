use futures::future::try_join_all;
use quadrille_contracts::{order, payment, stock};
use quadrille_process::kafka::KafkaSettings;
use saga_core::Envelope;
use saga_core::topic::DEAD_LETTER_SUFFIX;

use super::story::Event;
use crate::failure::Failure;
use crate::records::{self, Begin, Range, Record};

/// Topics whose key is the saga.
const TOPICS: [&str; 3] = [order::TOPIC, stock::TOPIC, payment::TOPIC];

/// Every event of a saga, dead letters included, duplicates left out.
pub(super) async fn read(kafka: &KafkaSettings, saga: &str) -> Result<Vec<Event>, Failure> {
    let letters = TOPICS.map(|topic| format!("{topic}{DEAD_LETTER_SUFFIX}"));
    let topics = TOPICS
        .into_iter()
        .chain(letters.iter().map(String::as_str))
        .map(|topic| of_topic(kafka, topic, saga));
    let mut events: Vec<Event> = Vec::new();
    for event in try_join_all(topics).await?.into_iter().flatten() {
        // Published at least once: the copy has the same id.
        if !events.iter().any(|known| known.id == event.id) {
            events.push(event);
        }
    }
    Ok(events)
}

async fn of_topic(kafka: &KafkaSettings, topic: &str, saga: &str) -> Result<Vec<Event>, Failure> {
    let topic = kafka.prefixed(topic);
    let range = Range {
        partitions: records::partitions_of(kafka, &topic, saga).await?,
        topic,
        begin: Begin::Beginning,
        follow: false,
    };
    let records = records::read_all(kafka, range).await?;
    let of_saga = records
        .into_iter()
        .filter(|record| record.key.as_deref() == Some(saga.as_bytes()));
    Ok(of_saga.filter_map(event).collect())
}

/// What is no CloudEvent is none of the saga's: it shows in `topics tail` and in the quarantine.
fn event(record: Record) -> Option<Event> {
    let envelope = Envelope::from_headers(record.headers()).ok()?;
    let note = record.header("kafka_dlt-exception-message").map(str::to_owned);
    Some(Event {
        id: envelope.id,
        name: envelope.r#type,
        source: envelope.source.trim_start_matches('/').to_owned(),
        at: envelope.time.or(record.timestamp),
        published_at: record.timestamp,
        causation: envelope.causation_id,
        traceparent: envelope.traceparent,
        sequence: envelope.sequence.map(|position| position.to_string()),
        position: envelope.sequence.map(|position| position.position),
        place: record.place(),
        data: record.payload.as_deref().map(records::payload),
        note,
    })
}
