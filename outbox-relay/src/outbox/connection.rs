use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::error::{OutboxError, within};
use super::sql;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A connection with the relay's settings.
///
/// Not a pool: a connection that broke ends the relay's tenure, since what the server is after a
/// reconnect has to be looked at afresh.
pub(crate) async fn connect(
    database: &PgConnectOptions,
    statement_timeout: Duration,
) -> Result<PgConnection, OutboxError> {
    let options = database
        .clone()
        .application_name("outbox-relay")
        .disable_statement_logging();
    let mut connection = within(
        CONNECT_WITHIN,
        "connecting to the outbox",
        PgConnection::connect_with(&options),
    )
    .await?;
    within(
        CONNECT_WITHIN,
        "configuring the connection",
        sqlx::query(sql::CONFIGURE)
            .bind(statement_timeout.as_millis().to_string())
            .execute(&mut connection),
    )
    .await?;
    Ok(connection)
}

/// A connection whose commits need not wait for the disk.
pub(crate) async fn connect_relaxed(
    database: &PgConnectOptions,
    statement_timeout: Duration,
) -> Result<PgConnection, OutboxError> {
    let mut connection = connect(database, statement_timeout).await?;
    within(
        CONNECT_WITHIN,
        "configuring the connection",
        sqlx::query(sql::RELAX).execute(&mut connection),
    )
    .await?;
    Ok(connection)
}
