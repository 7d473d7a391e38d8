use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use super::record;

const LIST: &str = "select participant, what, reason, paused_at from saga.pause order by participant, what";

const PAUSE: &str = "\
insert into saga.pause (participant, what, reason) values ($1, $2, $3) on conflict do nothing";

const RESUME: &str = "delete from saga.pause where participant = $1 and what = $2";

pub(super) const STATEMENTS: &[(&str, &str)] = &[("list", LIST), ("pause", PAUSE), ("resume", RESUME)];

/// Everything that a participant does by itself.
pub(crate) const EVERYTHING: &str = "*";

/// Something that is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub(crate) struct Pause {
    pub(crate) participant: String,
    pub(crate) what: String,
    pub(crate) reason: String,
    pub(crate) paused_at: DateTime<Utc>,
}

/// All of it.
pub(crate) async fn list(connection: &mut PgConnection) -> Result<Vec<Pause>, sqlx::Error> {
    sqlx::query_as(LIST).fetch_all(connection).await
}

/// Says whether it was not paused before.
pub(crate) async fn pause(
    connection: &mut PgConnection,
    participant: &str,
    what: &str,
    reason: &str,
    person: &str,
) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let changed = sqlx::query(PAUSE)
        .bind(participant)
        .bind(what)
        .bind(reason)
        .execute(&mut *transaction)
        .await?
        .rows_affected()
        > 0;
    if changed {
        note(&mut transaction, "pause", participant, what, reason, person).await?;
    }
    transaction.commit().await?;
    Ok(changed)
}

/// Says whether it was paused.
pub(crate) async fn resume(
    connection: &mut PgConnection,
    participant: &str,
    what: &str,
    reason: &str,
    person: &str,
) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let changed = sqlx::query(RESUME)
        .bind(participant)
        .bind(what)
        .execute(&mut *transaction)
        .await?
        .rows_affected()
        > 0;
    if changed {
        note(&mut transaction, "resume", participant, what, reason, person).await?;
    }
    transaction.commit().await?;
    Ok(changed)
}

async fn note(
    transaction: &mut PgConnection,
    action: &str,
    participant: &str,
    what: &str,
    reason: &str,
    person: &str,
) -> Result<(), sqlx::Error> {
    let subject = format!("{participant}/{what}");
    record(transaction, action, &subject, json!({ "reason": reason }), person).await
}
