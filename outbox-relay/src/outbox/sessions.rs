use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::error::{OutboxError, within};

const DOING: &str = "asking whether a session is ours alone";
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes sure that a connection keeps its session. A pooler that gives each transaction another one (PgBouncer with
/// `pool_mode = transaction`) would lose the relay's settings, which its promises rest on, and leave them to others.
///
/// Nothing tells a client so. But when two of them end a transaction each, such a pooler hands out the two sessions anew:
/// the one that was given back last, or the one that was given back first. So both orders are tried.
///
/// # Errors
/// [`OutboxError::SharedSession`] if it does not.
pub(crate) async fn are_ours(database: &PgConnectOptions) -> Result<(), OutboxError> {
    let connect = || async {
        let options = database
            .clone()
            .application_name("outbox-relay")
            .disable_statement_logging();
        within(
            PATIENCE,
            "connecting to the outbox",
            PgConnection::connect_with(&options),
        )
        .await
    };
    let (mut ours, mut other) = (connect().await?, connect().await?);
    let asked = async {
        let first = begin(&mut ours).await?;
        begin(&mut other).await?;
        end(&mut ours).await?;
        end(&mut other).await?;
        let second = begin(&mut ours).await?;
        begin(&mut other).await?;
        end(&mut other).await?;
        end(&mut ours).await?;
        let third = begin(&mut ours).await?;
        end(&mut ours).await?;
        Ok(first == second && second == third)
    };
    let kept = within(PATIENCE, DOING, asked).await?;
    ours.close().await.ok();
    other.close().await.ok();
    if kept {
        Ok(())
    } else {
        Err(OutboxError::SharedSession)
    }
}

/// Which session serves a transaction. Not a prepared statement: such a pooler mixes them up.
async fn begin(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    connection.execute("begin").await?;
    let row = connection.fetch_one("select pg_backend_pid()").await?;
    sqlx::Row::try_get_unchecked(&row, 0)
}

async fn end(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection.execute("commit").await.map(drop)
}
