use sqlx::postgres::PgConnection;
use std::time::Duration;

use super::error::{OutboxError, within};
use super::sql;

/// Which history of transaction ids a server has. For *detecting* a change only: two restores of one
/// backup share both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) system_identifier: i64,
    pub(crate) timeline: i64,
}

/// Looks at the server; refuses a standby and a database without our tables.
pub(crate) async fn identify(
    connection: &mut PgConnection,
    patience: Duration,
) -> Result<Identity, OutboxError> {
    let (standby, system_identifier, timeline): (bool, i64, i64) = within(
        patience,
        "looking at the server",
        sqlx::query_as(sql::IDENTITY).fetch_one(&mut *connection),
    )
    .await?;
    if standby {
        return Err(OutboxError::Standby);
    }
    let migrated: bool = within(
        patience,
        "looking for the relay's tables",
        sqlx::query_scalar(sql::MIGRATED).fetch_one(&mut *connection),
    )
    .await?;
    if !migrated {
        return Err(OutboxError::NotMigrated);
    }
    Ok(Identity {
        system_identifier,
        timeline,
    })
}
