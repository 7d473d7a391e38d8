use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::record;

const LIST: &str = "\
select topic, case when whole then null else key end as key, reason, detail, event, type, parked_at, tried_at,
       replay_requested is not null as replaying,
       (select count(*) from saga.outbox_parked_event e
         where e.topic = k.topic and (k.whole or e.key = k.key)) as events
  from saga.outbox_parked_key k order by parked_at, topic, key limit 1001";

const GET: &str = "\
select topic, case when whole then null else key end as key, reason, detail, event, type, parked_at, tried_at,
       replay_requested is not null as replaying,
       (select count(*) from saga.outbox_parked_event e
         where e.topic = k.topic and (k.whole or e.key = k.key)) as events
  from saga.outbox_parked_key k
 where topic = $1 and whole = ($2::text is null) and key = coalesce($2, '')";

const EVENTS: &str = "\
select position, id, key, type, octet_length(payload) as bytes, payload, headers, created_at, parked_at
  from saga.outbox_parked_event where topic = $1 and ($2::text is null or key = $2)
 order by win, position limit 1000";

// The relay gives events to a replay under the same lock.
const HOLD: &str = "\
select replay_win is not null from saga.outbox_parked_key
 where topic = $1 and whole = ($2::text is null) and key = coalesce($2, '') for update";

const REQUEST: &str = "\
update saga.outbox_parked_key set replay_requested = clock_timestamp()
 where topic = $1 and whole = ($2::text is null) and key = coalesce($2, '')";

const DISCARD: &str = "\
with gone as (
    delete from saga.outbox_parked_event
     where topic = $1 and ($2::text is null or key = $2) and ($3::uuid is null or id = $3)
    returning *
)
insert into saga.outbox_discarded
       (position, topic, key, id, type, payload, headers, created_at, why, by_person)
select position, topic, key, id, type, payload, headers, created_at, $4, $5 from gone";

pub(super) const STATEMENTS: &[(&str, &str)] = &[
    ("list", LIST),
    ("get", GET),
    ("events", EVENTS),
    ("hold", HOLD),
    ("request", REQUEST),
    ("discard", DISCARD),
];

/// What cannot be sent: a key of a topic, or the topic as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub(crate) struct Unsent {
    pub(crate) topic: String,
    /// None: the whole topic.
    pub(crate) key: Option<String>,
    pub(crate) reason: String,
    pub(crate) detail: String,
    /// The event that was refused.
    pub(crate) event: Uuid,
    pub(crate) r#type: String,
    pub(crate) parked_at: DateTime<Utc>,
    /// When it was refused again.
    pub(crate) tried_at: Option<DateTime<Utc>>,
    pub(crate) replaying: bool,
    pub(crate) events: i64,
}

/// One event that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub(crate) struct Event {
    pub(crate) position: i64,
    pub(crate) id: Uuid,
    pub(crate) key: String,
    pub(crate) r#type: String,
    /// None is a tombstone.
    pub(crate) bytes: Option<i32>,
    #[serde(skip)]
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Value,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) parked_at: DateTime<Utc>,
}

/// What an operator names: a topic, and one of its keys unless the whole topic is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) service: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) key: Option<&'a str>,
}

impl std::fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.key {
            Some(key) => write!(f, "{}/{}/{key}", self.service, self.topic),
            None => write!(f, "{}/{}", self.service, self.topic),
        }
    }
}

/// What became of a discard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discarded {
    /// It is not parked.
    NotParked,
    /// The relay is about to send it.
    BeingReplayed,
    /// So many events; 0 if there is none of that id.
    Events(u64),
}

/// What is parked in an outbox, the longest first.
pub(crate) async fn list(connection: &mut PgConnection) -> Result<Vec<Unsent>, sqlx::Error> {
    sqlx::query_as(LIST).fetch_all(connection).await
}

/// One key or topic, if it is parked.
pub(crate) async fn get(
    connection: &mut PgConnection,
    subject: Subject<'_>,
) -> Result<Option<Unsent>, sqlx::Error> {
    sqlx::query_as(GET)
        .bind(subject.topic)
        .bind(subject.key)
        .fetch_optional(connection)
        .await
}

/// Its events, in their order, the first thousand.
pub(crate) async fn events(
    connection: &mut PgConnection,
    subject: Subject<'_>,
) -> Result<Vec<Event>, sqlx::Error> {
    sqlx::query_as(EVENTS)
        .bind(subject.topic)
        .bind(subject.key)
        .fetch_all(connection)
        .await
}

/// Asks the relay to send them. Says whether there is such a key or topic.
pub(crate) async fn request_replay(
    connection: &mut PgConnection,
    subject: Subject<'_>,
    reason: &str,
    person: &str,
) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let asked = ask(&mut transaction, subject).await?;
    if asked {
        let detail = json!({ "reason": reason });
        record(
            &mut transaction,
            "outbox.replay",
            &subject.to_string(),
            detail,
            person,
        )
        .await?;
    }
    transaction.commit().await?;
    Ok(asked)
}

/// Throws events away, all of them or one, and lets the relay send the rest. They are kept in `saga.outbox_discarded`.
pub(crate) async fn discard(
    connection: &mut PgConnection,
    subject: Subject<'_>,
    only: Option<Uuid>,
    reason: &str,
    person: &str,
) -> Result<Discarded, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let replaying: Option<bool> = sqlx::query_scalar(HOLD)
        .bind(subject.topic)
        .bind(subject.key)
        .fetch_optional(&mut *transaction)
        .await?;
    match replaying {
        None => return Ok(Discarded::NotParked),
        Some(true) => return Ok(Discarded::BeingReplayed),
        Some(false) => {}
    }
    let gone = sqlx::query(DISCARD)
        .bind(subject.topic)
        .bind(subject.key)
        .bind(only)
        .bind(reason)
        .bind(person)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
    if gone == 0 && only.is_some() {
        return Ok(Discarded::Events(0));
    }
    // An empty key is freed by the relay, who alone knows what is on its way.
    ask(&mut transaction, subject).await?;
    let detail = json!({ "reason": reason, "events": gone, "event": only });
    record(
        &mut transaction,
        "outbox.discard",
        &subject.to_string(),
        detail,
        person,
    )
    .await?;
    transaction.commit().await?;
    Ok(Discarded::Events(gone))
}

async fn ask(transaction: &mut PgConnection, subject: Subject<'_>) -> Result<bool, sqlx::Error> {
    let asked = sqlx::query(REQUEST)
        .bind(subject.topic)
        .bind(subject.key)
        .execute(transaction)
        .await?;
    Ok(asked.rows_affected() > 0)
}
