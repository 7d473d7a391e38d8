use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::error::{OutboxError, within};
use super::lease::Lease;
use super::sql;
use crate::parked::Subject;
use crate::state::Stopped;

/// What is parked.
pub(crate) async fn load(
    connection: &mut PgConnection,
    patience: Duration,
) -> Result<Vec<Subject>, OutboxError> {
    let rows: Vec<(String, Option<String>)> = within(
        patience,
        "reading what is parked",
        sqlx::query_as(sql::PARKED).fetch_all(connection),
    )
    .await?;
    Ok(rows
        .into_iter()
        .map(|(topic, key)| Subject { topic, key })
        .collect())
}

/// What a replay's window sends again. `None`: it was ended before a crash.
pub(crate) async fn replaying(
    connection: &mut PgConnection,
    window: i64,
    patience: Duration,
) -> Result<Option<Subject>, OutboxError> {
    let row: Option<(String, Option<String>)> = within(
        patience,
        "looking what is replayed",
        sqlx::query_as(sql::REPLAYING)
            .bind(window)
            .fetch_optional(connection),
    )
    .await?;
    Ok(row.map(|(topic, key)| Subject { topic, key }))
}

/// How many events wait; more than 100,000 are not counted.
pub(crate) async fn count(connection: &mut PgConnection, patience: Duration) -> Result<i64, OutboxError> {
    within(
        patience,
        "counting what is parked",
        sqlx::query_scalar(sql::PARKED_EVENTS).fetch_one(connection),
    )
    .await
}

/// The deeds of a lease's holder.
impl Lease {
    /// From now on the subject's events are set aside.
    pub(crate) async fn park(
        &self,
        connection: &mut PgConnection,
        subject: &Subject,
        refused: &Stopped,
        patience: Duration,
    ) -> Result<(), OutboxError> {
        let parked = within(
            patience,
            "parking a key",
            self.fenced(sql::PARK)
                .bind(&subject.topic)
                .bind(subject.key.as_deref().unwrap_or(""))
                .bind(subject.key.is_none())
                .bind(refused.why.label())
                .bind(refused.why.to_string())
                .bind(refused.id)
                .bind(&refused.r#type)
                .execute(connection),
        )
        .await?;
        if parked.rows_affected() == 1 {
            Ok(())
        } else {
            Err(OutboxError::LeaseLost { fence: self.fence })
        }
    }

    /// Copies events of a window to where parked ones wait. If the lease is lost they are not copied, and the window is
    /// not acknowledged either.
    pub(crate) async fn set_aside(
        &self,
        connection: &mut PgConnection,
        window: i64,
        positions: &[i64],
        patience: Duration,
    ) -> Result<u64, OutboxError> {
        let copied = within(
            patience,
            "setting parked events aside",
            self.fenced(sql::SET_ASIDE)
                .bind(window)
                .bind(positions)
                .execute(connection),
        )
        .await?;
        Ok(copied.rows_affected())
    }

    /// A key of a replayed topic waits on by itself.
    pub(crate) async fn put_back_key(
        &self,
        connection: &mut PgConnection,
        window: i64,
        topic: &str,
        key: &str,
        patience: Duration,
    ) -> Result<(), OutboxError> {
        within(
            patience,
            "putting a key of a replay back",
            self.fenced(sql::PUT_BACK_KEY)
                .bind(window)
                .bind(topic)
                .bind(key)
                .execute(connection),
        )
        .await?;
        Ok(())
    }

    /// A replay is refused: what the broker has of it is done with, the rest waits on.
    pub(crate) async fn put_back(
        &self,
        connection: &mut PgConnection,
        window: i64,
        (prefix, beyond): (i64, &[i64]),
        refused: &Stopped,
        patience: Duration,
    ) -> Result<(), OutboxError> {
        within(
            patience,
            "putting a replay back",
            self.fenced(sql::PUT_BACK)
                .bind(window)
                .bind(prefix)
                .bind(beyond)
                .bind(refused.why.label())
                .bind(refused.why.to_string())
                .bind(refused.id)
                .bind(&refused.r#type)
                .execute(connection),
        )
        .await?;
        Ok(())
    }

    /// A replay has gone out. `None`: that was known already, before a crash.
    pub(crate) async fn replayed(
        &self,
        connection: &mut PgConnection,
        window: i64,
        patience: Duration,
    ) -> Result<Option<Subject>, OutboxError> {
        let freed: Option<(String, Option<String>)> = within(
            patience,
            "ending a replay",
            sqlx::query_as(sql::REPLAYED)
                .bind(self.source.as_str())
                .bind(self.fence)
                .bind(window)
                .fetch_optional(connection),
        )
        .await?;
        Ok(freed.map(|(topic, key)| Subject { topic, key }))
    }
}
