use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Connection as _;
use sqlx::postgres::PgConnectOptions;

use crate::outbox::connection::connect;
use crate::outbox::error::{OutboxError, within};
use crate::outbox::sql;

/// How an outbox is, as its database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The outbox's name.
    pub source: String,
    /// Who holds the lease, or held it last without giving it back.
    pub owner: Option<String>,
    /// The lease's number.
    pub fence: i64,
    /// Whether the lease runs.
    pub held: bool,
    /// The history of the database.
    pub epoch: i64,
    /// The last window that was acknowledged; microseconds since 1970 when it was opened, mostly.
    pub acked_window: i64,
    /// The highest position in any acknowledged window.
    pub acked_highest: i64,
    /// When that was.
    pub acked_at: Option<DateTime<Utc>>,
    /// A window of which a part was acknowledged is on its way.
    pub in_a_window: bool,
    /// Events that were not acknowledged, counted up to 100,001.
    pub unpublished: i64,
    /// When the oldest of those came to be.
    pub oldest: Option<DateTime<Utc>>,
    /// What the outbox's leaves take on disk.
    pub bytes: i64,
    /// Events that cannot be sent or wait behind one, counted up to 100,001.
    pub parked: i64,
}

type StatusRow = (
    String,
    Option<String>,
    i64,
    bool,
    i64,
    i64,
    i64,
    Option<DateTime<Utc>>,
    bool,
    i64,
    Option<DateTime<Utc>>,
    i64,
    i64,
);

/// Asks an outbox's database, as the role `<svc>_relay` or `<svc>_ops`. `None`: no relay has run yet.
///
/// # Errors
/// [`OutboxError`] if the database does not answer, or has no tables of ours.
pub async fn read(database: &PgConnectOptions) -> Result<Option<Status>, OutboxError> {
    const PATIENCE: Duration = Duration::from_secs(15);
    let mut connection = connect(database, PATIENCE).await?;
    let migrated: bool = within(
        PATIENCE,
        "looking for the relay's tables",
        sqlx::query_scalar(sql::MIGRATED).fetch_one(&mut connection),
    )
    .await?;
    if !migrated {
        return Err(OutboxError::NotMigrated);
    }
    let row: Option<StatusRow> = within(
        PATIENCE,
        "reading the outbox's status",
        sqlx::query_as(sql::STATUS).fetch_optional(&mut connection),
    )
    .await?;
    connection.close().await.ok();
    Ok(row.map(
        |(
            source,
            owner,
            fence,
            held,
            epoch,
            acked_window,
            acked_highest,
            acked_at,
            in_a_window,
            unpublished,
            oldest,
            bytes,
            parked,
        )| {
            Status {
                source,
                owner,
                fence,
                held,
                epoch,
                acked_window,
                acked_highest,
                acked_at,
                in_a_window,
                unpublished,
                oldest,
                bytes,
                parked,
            }
        },
    ))
}
