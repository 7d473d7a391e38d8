//! Quarantine by key: a message that cannot be decoded or decided parks its key. The key's later messages
//! wait behind it in order, other keys flow, and a copy of the culprit goes to `<topic>-dlt`.

pub(crate) mod replay;

use std::collections::BTreeSet;

use saga_core::Participant;
use sqlx::PgConnection;
use uuid::Uuid;

use saga_core::topic::DEAD_LETTER_SUFFIX;

use crate::engine::batch::{Entry, Origin};
use crate::engine::decide::Park;
use crate::outbox::{self, Headers, NewEvent};
use crate::record::Record;

// For update: a replay that empties the key and a batch that adds to it must see each other.
const LOCK: &str =
    "select key from saga.parked_key where participant = $1 and key = any($2) order by key for update";

// For update: an operator may be discarding one of them.
const THERE: &str = "\
select m.key, m.seq from saga.parked_message m
  join (select $1::text as participant, key, seq from unnest($2::text[], $3::int8[]) as u (key, seq) offset 0) as r
       using (participant, key, seq)
 order by m.key, m.seq for update of m";

const PARK_KEYS: &str = "\
insert into saga.parked_key (participant, key, reason)
select $1, key, reason from unnest($2::text[], $3::text[]) as p (key, reason)
    on conflict do nothing";

const PARK_MESSAGES: &str = r#"
insert into saga.parked_message (participant, key, topic, partition, "offset", record_key, headers, payload, reason)
select $1, key, topic, partition, "offset", record_key, headers::jsonb, payload, reason
  from unnest($2::text[], $3::text[], $4::int4[], $5::int8[], $6::bytea[], $7::text[], $8::bytea[], $9::text[])
       with ordinality as m (key, topic, partition, "offset", record_key, headers, payload, reason, n)
 order by n"#;

const STILL_WRONG: &str = "\
update saga.parked_message m set reason = r.reason
  from (select $1::text as participant, key, seq, reason
          from unnest($2::text[], $3::int8[], $4::text[]) as u (key, seq, reason) offset 0) as r
 where m.participant = r.participant and m.key = r.key and m.seq = r.seq";

const TAKE_OUT: &str = "\
delete from saga.parked_message m
 using (select $1::text as participant, key, seq from unnest($2::text[], $3::int8[]) as u (key, seq) offset 0) as r
 where m.participant = r.participant and m.key = r.key and m.seq = r.seq";

/// The statements of this module.
pub(crate) const STATEMENTS: &[(&str, &str)] = &[
    ("lock", LOCK),
    ("there", THERE),
    ("park_keys", PARK_KEYS),
    ("park_messages", PARK_MESSAGES),
    ("still_wrong", STILL_WRONG),
    ("take_out", TAKE_OUT),
];

/// Which of `keys` are parked; their rows stay locked until the transaction ends.
pub(crate) async fn lock(
    tx: &mut PgConnection,
    participant: &'static str,
    keys: &BTreeSet<String>,
) -> Result<BTreeSet<String>, sqlx::Error> {
    if keys.is_empty() {
        return Ok(BTreeSet::new());
    }
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let parked: Vec<String> = sqlx::query_scalar(LOCK)
        .bind(participant)
        .bind(keys)
        .fetch_all(tx)
        .await?;
    Ok(parked.into_iter().collect())
}

/// Replayed messages that are in the quarantine no more: they were read outside of this transaction, and somebody else has
/// replayed or discarded them since. To be called when their keys are locked.
pub(crate) async fn gone<P: Participant>(
    tx: &mut PgConnection,
    entries: &[Entry<P>],
) -> Result<BTreeSet<usize>, sqlx::Error> {
    let replayed: Vec<(usize, &str, i64)> = entries
        .iter()
        .enumerate()
        .filter_map(|(i, entry)| match &entry.origin {
            Origin::Parked { key, seq, .. } => Some((i, key.as_str(), *seq)),
            _ => None,
        })
        .collect();
    if replayed.is_empty() {
        return Ok(BTreeSet::new());
    }
    let there: BTreeSet<(String, i64)> = sqlx::query_as(THERE)
        .bind(P::NAME)
        .bind(replayed.iter().map(|(_, key, _)| *key).collect::<Vec<_>>())
        .bind(replayed.iter().map(|(_, _, seq)| *seq).collect::<Vec<_>>())
        .fetch_all(tx)
        .await?
        .into_iter()
        .collect();
    Ok(replayed
        .into_iter()
        .filter(|(_, key, seq)| !there.contains(&((*key).to_owned(), *seq)))
        .map(|(i, _, _)| i)
        .collect())
}

/// Parks keys and puts records behind them.
pub(crate) async fn park<P: Participant>(
    tx: &mut PgConnection,
    participant: &'static str,
    prefix: &str,
    entries: &[Entry<P>],
    parks: &[Park],
) -> Result<(), sqlx::Error> {
    let culprits: Vec<&Park> = parks.iter().filter(|park| park.reason.is_some()).collect();
    if !culprits.is_empty() {
        let keys: Vec<&str> = culprits.iter().map(|park| park.key.as_str()).collect();
        let reasons: Vec<String> = culprits
            .iter()
            .map(|park| text(park.reason.as_deref().unwrap_or_default()))
            .collect();
        sqlx::query(PARK_KEYS)
            .bind(participant)
            .bind(keys)
            .bind(reasons)
            .execute(&mut *tx)
            .await?;
    }
    let messages: Vec<(&Park, &Record)> = parks
        .iter()
        .filter_map(|park| match &entries[park.entry].origin {
            Origin::Record { record, .. } => Some((park, record.as_ref())),
            _ => None,
        })
        .collect();
    if messages.is_empty() {
        return Ok(());
    }
    sqlx::query(PARK_MESSAGES)
        .bind(participant)
        .bind(
            messages
                .iter()
                .map(|(park, _)| park.key.as_str())
                .collect::<Vec<_>>(),
        )
        .bind(
            messages
                .iter()
                .map(|(_, record)| record.topic.as_str())
                .collect::<Vec<_>>(),
        )
        .bind(
            messages
                .iter()
                .map(|(_, record)| record.partition)
                .collect::<Vec<_>>(),
        )
        .bind(
            messages
                .iter()
                .map(|(_, record)| record.offset)
                .collect::<Vec<_>>(),
        )
        .bind(
            messages
                .iter()
                .map(|(_, record)| record.key.as_deref())
                .collect::<Vec<_>>(),
        )
        .bind(
            messages
                .iter()
                .map(|(_, record)| record.headers_to_json().to_string())
                .collect::<Vec<_>>(),
        )
        .bind(
            messages
                .iter()
                .map(|(_, record)| record.payload.as_deref())
                .collect::<Vec<_>>(),
        )
        .bind(
            messages
                .iter()
                .map(|(park, _)| park.reason.as_deref().map(text))
                .collect::<Vec<_>>(),
        )
        .execute(&mut *tx)
        .await?;
    let copies: Vec<NewEvent> = messages
        .iter()
        .filter_map(|(park, record)| {
            park.reason
                .as_deref()
                .map(|reason| dead_letter(participant, prefix, record, reason))
        })
        .collect();
    outbox::append(tx, &copies).await
}

/// Takes replayed messages that were decided out of the quarantine. One that is still wrong stays, with
/// today's reason.
pub(crate) async fn unpark<P: Participant>(
    tx: &mut PgConnection,
    participant: &'static str,
    entries: &[Entry<P>],
    parks: &[Park],
) -> Result<(), sqlx::Error> {
    let (mut out_keys, mut out) = (Vec::new(), Vec::new());
    let (mut wrong_keys, mut wrong, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
    for (i, entry) in entries.iter().enumerate() {
        let Origin::Parked { key, seq, .. } = &entry.origin else {
            continue;
        };
        match parks.iter().find(|park| park.entry == i) {
            None => {
                out_keys.push(key.as_str());
                out.push(*seq);
            }
            Some(park) => {
                wrong_keys.push(key.as_str());
                wrong.push(*seq);
                reasons.push(park.reason.as_deref().map(text));
            }
        }
    }
    if !out.is_empty() {
        sqlx::query(TAKE_OUT)
            .bind(participant)
            .bind(out_keys)
            .bind(out)
            .execute(&mut *tx)
            .await?;
    }
    if !wrong.is_empty() {
        sqlx::query(STILL_WRONG)
            .bind(participant)
            .bind(wrong_keys)
            .bind(wrong)
            .bind(reasons)
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// A copy for whoever watches `<topic>-dlt`, with the headers that Spring Kafka writes: numbers are
/// big-endian, as Java's.
fn dead_letter(participant: &'static str, prefix: &str, record: &Record, reason: &str) -> NewEvent {
    let mut headers = Headers::default();
    for (name, value) in record.headers() {
        // The relay writes the copy's own CloudEvents attributes; the original's move out of their way.
        let own = name.starts_with("ce_") || name == saga_core::envelope::TRACEPARENT;
        let name = format!(
            "{}{}",
            if own { "dlt-original-" } else { "" },
            name.replace('\0', "")
        );
        match std::str::from_utf8(value) {
            Ok(value) if !value.contains('\0') => headers.text(&name, value),
            _ => headers.bytes(&name, value),
        }
    }
    headers.text("kafka_dlt-original-topic", record.topic.as_str());
    headers.bytes("kafka_dlt-original-partition", &record.partition.to_be_bytes());
    headers.bytes("kafka_dlt-original-offset", &record.offset.to_be_bytes());
    if let Some(timestamp) = record.timestamp_ms {
        headers.bytes("kafka_dlt-original-timestamp", &timestamp.to_be_bytes());
    }
    headers.text("kafka_dlt-original-timestamp-type", "CreateTime");
    headers.text(
        "kafka_dlt-original-consumer-group",
        format!("{prefix}{participant}"),
    );
    headers.text("kafka_dlt-exception-fqcn", "quadrille.Parked");
    headers.text("kafka_dlt-exception-message", text(reason));
    // The id is derived: the same record parked twice is the same dead letter.
    let coordinates = format!("{}/{}/{}", record.topic, record.partition, record.offset);
    NewEvent {
        id: saga_core::id::of_output(participant, &coordinates, Uuid::nil(), "dead-letter", 0),
        topic: format!("{}{DEAD_LETTER_SUFFIX}", record.topic),
        key: record.quarantine_key(),
        r#type: "quadrille.dead_letter".to_owned(),
        payload: record.payload.clone(),
        headers,
    }
}

/// PostgreSQL's text has no NUL, and a reason need not be longer than a screen.
fn text(reason: &str) -> String {
    reason.replace('\0', "").chars().take(2000).collect()
}
