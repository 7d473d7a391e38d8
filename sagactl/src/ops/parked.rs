use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use super::record;

const LIST: &str = "\
select participant, key, reason, parked_at, replay_requested is not null as replaying,
       (select count(*) from saga.parked_message m where m.participant = k.participant and m.key = k.key) as messages
  from saga.parked_key k
 where $1::text is null or participant = $1
 order by parked_at limit 1001";

/// By their names and not by their age: what is replayed and refused again is parked anew.
const NEXT: &str =
    "select key from saga.parked_key where participant = $1 and key > $2 order by key limit 500";

const GET: &str = "\
select participant, key, reason, parked_at, replay_requested is not null as replaying,
       (select count(*) from saga.parked_message m where m.participant = k.participant and m.key = k.key) as messages
  from saga.parked_key k where participant = $1 and key = $2";

const MESSAGES: &str = r#"
select seq, topic, partition, "offset", headers, payload, reason, parked_at
  from saga.parked_message where participant = $1 and key = $2 order by seq limit 1000"#;

const REQUEST: &str =
    "update saga.parked_key set replay_requested = clock_timestamp() where participant = $1 and key = $2";

// What a batch that adds to the key and a replay that empties it lock, too.
const HOLD: &str = "select 1 from saga.parked_key where participant = $1 and key = $2 for update";

const DISCARD_ALL: &str = r#"
delete from saga.parked_message where participant = $1 and key = $2 returning seq, topic, partition, "offset""#;

const DISCARD_ONE: &str = r#"
delete from saga.parked_message where participant = $1 and key = $2 and seq = $3
returning seq, topic, partition, "offset""#;

const FREE: &str = "\
delete from saga.parked_key k where participant = $1 and key = $2
   and not exists (select from saga.parked_message m where m.participant = k.participant and m.key = k.key)";

pub(super) const STATEMENTS: &[(&str, &str)] = &[
    ("list", LIST),
    ("next", NEXT),
    ("get", GET),
    ("messages", MESSAGES),
    ("request", REQUEST),
    ("hold", HOLD),
    ("discard_all", DISCARD_ALL),
    ("discard_one", DISCARD_ONE),
    ("free", FREE),
];

/// A key that waits for somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub(crate) struct ParkedKey {
    pub(crate) participant: String,
    pub(crate) key: String,
    pub(crate) reason: String,
    pub(crate) parked_at: DateTime<Utc>,
    pub(crate) replaying: bool,
    pub(crate) messages: i64,
}

/// One message of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub(crate) struct ParkedMessage {
    pub(crate) seq: i64,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Pairs of name and base64.
    pub(crate) headers: Value,
    #[serde(skip)]
    pub(crate) payload: Option<Vec<u8>>,
    /// None: it only waits behind another.
    pub(crate) reason: Option<String>,
    pub(crate) parked_at: DateTime<Utc>,
}

/// What is parked, the longest first; one more than are listed.
pub(crate) async fn list(
    connection: &mut PgConnection,
    participant: Option<&str>,
) -> Result<Vec<ParkedKey>, sqlx::Error> {
    sqlx::query_as(LIST).bind(participant).fetch_all(connection).await
}

/// Some keys that come after this one.
pub(crate) async fn next(
    connection: &mut PgConnection,
    participant: &str,
    after: &str,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(NEXT)
        .bind(participant)
        .bind(after)
        .fetch_all(connection)
        .await
}

/// One key, if it is parked.
pub(crate) async fn get(
    connection: &mut PgConnection,
    participant: &str,
    key: &str,
) -> Result<Option<ParkedKey>, sqlx::Error> {
    sqlx::query_as(GET)
        .bind(participant)
        .bind(key)
        .fetch_optional(connection)
        .await
}

/// Its messages, in their order.
pub(crate) async fn messages(
    connection: &mut PgConnection,
    participant: &str,
    key: &str,
) -> Result<Vec<ParkedMessage>, sqlx::Error> {
    sqlx::query_as(MESSAGES)
        .bind(participant)
        .bind(key)
        .fetch_all(connection)
        .await
}

/// Asks the service to decide the key's messages again. Says whether there is such a key.
pub(crate) async fn request_replay(
    connection: &mut PgConnection,
    participant: &str,
    key: &str,
    reason: &str,
    person: &str,
) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let asked = sqlx::query(REQUEST)
        .bind(participant)
        .bind(key)
        .execute(&mut *transaction)
        .await?
        .rows_affected()
        > 0;
    if asked {
        let (subject, detail) = (subject(participant, key), json!({ "reason": reason }));
        record(&mut transaction, "parked.replay", &subject, detail, person).await?;
    }
    transaction.commit().await?;
    Ok(asked)
}

/// Throws messages of a key away, all of them or one, and frees the key if none is left. Returns how many
/// there were, or nothing if there is no such key.
pub(crate) async fn discard(
    connection: &mut PgConnection,
    participant: &str,
    key: &str,
    only: Option<i64>,
    reason: &str,
    person: &str,
) -> Result<Option<usize>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let held: Option<i32> = sqlx::query_scalar(HOLD)
        .bind(participant)
        .bind(key)
        .fetch_optional(&mut *transaction)
        .await?;
    if held.is_none() {
        return Ok(None);
    }
    let query = match only {
        None => sqlx::query_as(DISCARD_ALL).bind(participant).bind(key),
        Some(seq) => sqlx::query_as(DISCARD_ONE).bind(participant).bind(key).bind(seq),
    };
    let gone: Vec<(i64, String, i32, i64)> = query.fetch_all(&mut *transaction).await?;
    if gone.is_empty() && only.is_some() {
        return Ok(Some(0));
    }
    sqlx::query(FREE)
        .bind(participant)
        .bind(key)
        .execute(&mut *transaction)
        .await?;
    let records = gone.iter().map(|(seq, topic, partition, offset)| {
        json!({ "seq": seq, "topic": topic, "partition": partition, "offset": offset })
    });
    let detail = json!({ "reason": reason, "messages": records.collect::<Vec<_>>() });
    record(
        &mut transaction,
        "parked.discard",
        &subject(participant, key),
        detail,
        person,
    )
    .await?;
    transaction.commit().await?;
    Ok(Some(gone.len()))
}

fn subject(participant: &str, key: &str) -> String {
    format!("{participant}/{key}")
}
