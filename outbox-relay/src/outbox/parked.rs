use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::error::{OutboxError, within};
use super::lease::Lease;
use super::sql::parked as sql;
use crate::kafka::refusal::Unsendable;
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

    /// What was wrong with a subject still is: it is tried again later.
    pub(crate) async fn refuse_again(
        &self,
        connection: &mut PgConnection,
        subject: &Subject,
        why: &Unsendable,
        patience: Duration,
    ) -> Result<(), OutboxError> {
        within(
            patience,
            "noting that parked events cannot be sent yet",
            self.fenced(sql::REFUSE_AGAIN)
                .bind(&subject.topic)
                .bind(subject.key.as_deref().unwrap_or(""))
                .bind(subject.key.is_none())
                .bind(why.label())
                .bind(why.to_string())
                .execute(connection),
        )
        .await?;
        Ok(())
    }

    /// Events of a replay wait on: those of one key, or all of them. So many per statement, the last ones first.
    pub(crate) async fn put_back(
        &self,
        connection: &mut PgConnection,
        (window, key): (i64, Option<&str>),
        most: u32,
        patience: Duration,
    ) -> Result<(), OutboxError> {
        loop {
            let back = within(
                patience,
                "putting events of a replay back",
                self.fenced(sql::PUT_BACK)
                    .bind(window)
                    .bind(key)
                    .bind(i64::from(most))
                    .execute(&mut *connection),
            )
            .await?;
            if back.rows_affected() < u64::from(most) {
                return Ok(());
            }
        }
    }

    /// What the broker has of a replay is done with: up to a place, and some places beyond. So many per statement.
    pub(crate) async fn drop_sent(
        &self,
        connection: &mut PgConnection,
        (window, prefix, beyond): (i64, i64, &[i64]),
        most: u32,
        patience: Duration,
    ) -> Result<(), OutboxError> {
        loop {
            let gone = within(
                patience,
                "dropping what a replay has sent",
                self.fenced(sql::DROP_SENT)
                    .bind(window)
                    .bind(prefix)
                    .bind(beyond)
                    .bind(i64::from(most))
                    .execute(&mut *connection),
            )
            .await?;
            if gone.rows_affected() < u64::from(most) {
                return Ok(());
            }
        }
    }

    /// A replay whose events were put back is refused.
    pub(crate) async fn end_refused(
        &self,
        connection: &mut PgConnection,
        window: i64,
        refused: &Stopped,
        patience: Duration,
    ) -> Result<(), OutboxError> {
        within(
            patience,
            "ending a replay that is refused",
            self.fenced(sql::END_REFUSED)
                .bind(window)
                .bind(refused.why.label())
                .bind(refused.why.to_string())
                .bind(refused.id)
                .bind(&refused.r#type)
                .execute(connection),
        )
        .await?;
        Ok(())
    }

    /// A replay has gone out. Returns what is free by that. `None`: there is more of it, or that was known already, before a
    /// crash.
    pub(crate) async fn end_replay(
        &self,
        connection: &mut PgConnection,
        window: i64,
        patience: Duration,
    ) -> Result<Option<Subject>, OutboxError> {
        let freed: Option<(String, Option<String>)> = within(
            patience,
            "ending a replay",
            sqlx::query_as(sql::END_REPLAY)
                .bind(self.source.as_str())
                .bind(self.fence)
                .bind(window)
                .fetch_optional(connection),
        )
        .await?;
        Ok(freed.map(|(topic, key)| Subject { topic, key }))
    }
}
