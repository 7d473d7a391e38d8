//! Writes events into the transactional outbox, inside whatever transaction the caller has open.
//!
//! An event exists if and only if that transaction commits; the relay publishes it afterwards.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use saga_core::envelope;

const APPEND: &str = "\
insert into saga.outbox (id, aggregatetype, aggregateid, type, payload, headers)
select id, topic, key, type, payload, headers::jsonb
  from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[])
       with ordinality as e (id, topic, key, type, payload, headers, n)
 order by n";

/// The statements of this module, for the test that prepares each as the role that runs it.
pub const STATEMENTS: &[(&str, &str)] = &[("append", APPEND)];

/// An event that is about to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// CloudEvents id. Derive it from the cause ([`saga_core::id`]), so that a retry writes the same.
    pub id: Uuid,
    /// Whole topic name, prefix included.
    pub topic: String,
    /// Kafka key: whatever has the same key stays in order.
    pub key: String,
    /// Wire name.
    pub r#type: String,
    /// The data; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// CloudEvents attributes and trace context.
    pub headers: Headers,
}

/// What goes with an event as Kafka headers. `id`, `type`, `source`, `time` and the position are added by the
/// relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(BTreeMap<String, Value>);

impl Headers {
    /// The headers of an event of a saga, with JSON data.
    pub fn of_event(
        schema: &str,
        correlation_id: &str,
        causation_id: Uuid,
        traceparent: Option<&str>,
    ) -> Self {
        let mut headers = Self::default();
        headers.text(envelope::CONTENT_TYPE, envelope::JSON);
        headers.text(envelope::CE_DATASCHEMA, schema);
        headers.text(envelope::CE_CORRELATIONID, correlation_id);
        headers.text(envelope::CE_CAUSATIONID, causation_id.to_string());
        if let Some(traceparent) = traceparent {
            headers.text(envelope::CE_TRACEPARENT, traceparent);
        }
        headers
    }

    /// Adds a header whose value is text.
    pub fn text(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), Value::String(value.into()));
    }

    /// Adds a header whose value is bytes.
    pub fn bytes(&mut self, name: &str, value: &[u8]) {
        self.0.insert(
            name.to_owned(),
            serde_json::json!({ "base64": BASE64.encode(value) }),
        );
    }

    /// As the outbox stores them.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("text keys and text values are JSON")
    }
}

/// Appends events in this order, in one statement.
///
/// Call it last in a transaction that holds the aggregate's row lock: a position is drawn here, and positions
/// of one aggregate have to grow in the order of its commits. Who holds no such lock calls
/// `saga.append_event` instead, which takes one.
///
/// # Errors
/// Whatever the database says. The transaction cannot be committed then.
pub async fn append(tx: &mut PgConnection, events: &[NewEvent]) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
    let topics: Vec<&str> = events.iter().map(|event| event.topic.as_str()).collect();
    let keys: Vec<&str> = events.iter().map(|event| event.key.as_str()).collect();
    let types: Vec<&str> = events.iter().map(|event| event.r#type.as_str()).collect();
    let payloads: Vec<Option<&[u8]>> = events.iter().map(|event| event.payload.as_deref()).collect();
    let headers: Vec<String> = events.iter().map(|event| event.headers.to_json()).collect();
    sqlx::query(APPEND)
        .bind(ids)
        .bind(topics)
        .bind(keys)
        .bind(types)
        .bind(payloads)
        .bind(headers)
        .execute(tx)
        .await?;
    Ok(())
}
