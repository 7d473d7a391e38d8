use std::sync::Arc;

use sqlx::Connection as _;
use sqlx::postgres::PgConnectOptions;

use super::parking::count_parked;
use crate::options::Options;
use crate::outbox::connection::connect;
use crate::outbox::error::OutboxError;
use crate::outbox::lease::Lease;
use crate::outbox::rotate::rotate;
use crate::state::Shared;

/// Empties leaves from time to time, and counts what is parked. A failure is not the end of the tenure: the table grows, that is all.
pub(super) async fn keep_rotating(
    options: Arc<Options>,
    shared: Arc<Shared>,
    lease: Lease,
    database: PgConnectOptions,
) -> Result<(), OutboxError> {
    loop {
        tokio::time::sleep(options.rotate_every).await;
        let round = async {
            let mut connection = connect(&database, options.statement_timeout).await?;
            let emptied = rotate(&mut connection, &lease, &options.owner).await?;
            count_parked(&mut connection, &options, &shared).await?;
            connection.close().await.ok();
            Ok::<_, OutboxError>(emptied)
        };
        match round.await {
            Ok(emptied) => {
                shared
                    .meters
                    .leaves_emptied
                    .increment(u64::try_from(emptied.len()).unwrap_or(0));
                if !emptied.is_empty() {
                    tracing::debug!(source = %shared.source, ?emptied, "leaves are emptied");
                }
            }
            Err(error) => {
                shared.meters.outbox_errors.increment(1);
                tracing::warn!(source = %shared.source, error = %quadrille_process::Chain(&error), "no leaf is emptied");
            }
        }
    }
}
