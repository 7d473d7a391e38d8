use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::error::{OutboxError, within};
use super::lease::Lease;
use super::sql;

/// The topics that events of this outbox have gone to.
pub(crate) async fn known(
    connection: &mut PgConnection,
    patience: Duration,
) -> Result<Vec<String>, OutboxError> {
    within(
        patience,
        "reading which topics are known",
        sqlx::query_scalar(sql::KNOWN_TOPICS).fetch_all(connection),
    )
    .await
}

/// Records a topic's partition count, unless one was recorded before. Returns the one that counts.
pub(crate) async fn record(
    connection: &mut PgConnection,
    lease: &Lease,
    topic: &str,
    partitions: i32,
    patience: Duration,
) -> Result<i32, OutboxError> {
    within(
        patience,
        "recording a topic's partition count",
        lease
            .fenced(sql::RECORD_TOPIC)
            .bind(topic)
            .bind(partitions)
            .execute(&mut *connection),
    )
    .await?;
    let recorded: Option<i32> = within(
        patience,
        "reading a recorded partition count",
        sqlx::query_scalar(sql::RECORDED_PARTITIONS)
            .bind(topic)
            .fetch_optional(&mut *connection),
    )
    .await?;
    recorded.ok_or(OutboxError::LeaseLost { fence: lease.fence })
}
