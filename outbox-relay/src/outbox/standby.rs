use std::time::Duration;

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::error::{OutboxError, within};
use super::sql;

/// Says that a process stands by for this outbox, and how many it holds elsewhere.
pub(crate) async fn announce(
    connection: &mut PgConnection,
    (instance, owner): (Uuid, &str),
    held: usize,
    patience: Duration,
) -> Result<(), OutboxError> {
    within(
        patience,
        "saying that a relay stands by",
        sqlx::query(sql::ANNOUNCE)
            .bind(instance)
            .bind(owner)
            .bind(i32::try_from(held).unwrap_or(i32::MAX))
            .execute(connection),
    )
    .await?;
    Ok(())
}

/// It does not any more. Takes those along that have long been silent.
pub(crate) async fn withdraw(
    connection: &mut PgConnection,
    instance: Uuid,
    patience: Duration,
) -> Result<(), OutboxError> {
    within(
        patience,
        "saying that a relay stands by no more",
        sqlx::query(sql::WITHDRAW).bind(instance).execute(connection),
    )
    .await?;
    Ok(())
}

/// The fewest outboxes that another process holds which stands by here and was heard of within `recently`.
pub(crate) async fn fewest_held(
    connection: &mut PgConnection,
    but: Uuid,
    recently: Duration,
    patience: Duration,
) -> Result<Option<usize>, OutboxError> {
    let fewest: Option<i32> = within(
        patience,
        "looking who stands by",
        sqlx::query_scalar(sql::FEWEST_HELD)
            .bind(but)
            .bind(i64::try_from(recently.as_millis()).unwrap_or(i64::MAX))
            .fetch_one(connection),
    )
    .await?;
    Ok(fewest.and_then(|held| usize::try_from(held).ok()))
}
