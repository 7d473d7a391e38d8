use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::record;

const LIST: &str = "\
select id, participant, saga, kind, attempt, due_at is null as exhausted, created_at, last_error,
       coalesce((extract(epoch from due_at - clock_timestamp()) * 1000)::int8, 0) as due_in_ms
  from saga.effect where $1 or due_at is null order by created_at limit 1001";

// first_called_at stays: an executor that knows of a call long ago asks what became of it before it calls again.
const REPLAY: &str = "\
update saga.effect set due_at = clock_timestamp(), attempt = 0
 where id = $1 and due_at is null returning participant, saga, kind";

const EXISTS: &str = "select exists (select from saga.effect where id = $1)";

pub(super) const STATEMENTS: &[(&str, &str)] = &[("list", LIST), ("replay", REPLAY), ("exists", EXISTS)];

/// A call to the outside world that has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub(crate) struct Effect {
    pub(crate) id: Uuid,
    pub(crate) participant: String,
    pub(crate) saga: String,
    pub(crate) kind: String,
    pub(crate) attempt: i32,
    pub(crate) exhausted: bool,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) last_error: Option<String>,
    pub(crate) due_in_ms: i64,
}

/// What came of asking for a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replayed {
    /// It is due now.
    Due,
    /// It still has attempts of its own.
    NotExhausted,
    /// It is not here.
    NotHere,
}

/// Those that are exhausted, or all that wait; one more than are listed.
pub(crate) async fn list(connection: &mut PgConnection, all: bool) -> Result<Vec<Effect>, sqlx::Error> {
    sqlx::query_as(LIST).bind(all).fetch_all(connection).await
}

/// Lets an exhausted effect begin again.
pub(crate) async fn replay(
    connection: &mut PgConnection,
    id: Uuid,
    reason: &str,
    person: &str,
) -> Result<Replayed, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let replayed: Option<(String, String, String)> = sqlx::query_as(REPLAY)
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await?;
    let Some((participant, saga, kind)) = replayed else {
        let exists: bool = sqlx::query_scalar(EXISTS)
            .bind(id)
            .fetch_one(&mut *transaction)
            .await?;
        return Ok(if exists {
            Replayed::NotExhausted
        } else {
            Replayed::NotHere
        });
    };
    let detail = json!({ "reason": reason, "participant": participant, "saga": saga, "kind": kind });
    record(&mut transaction, "effect.replay", &id.to_string(), detail, person).await?;
    transaction.commit().await?;
    Ok(Replayed::Due)
}
