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

/// Where no window was opened since all leaves were empty, there is nothing to be emptied but what was rolled back. So
/// many rounds are passed over then: each costs the server a session, and there may be a hundred outboxes that sleep.
const PASSED_OVER: u32 = 60;

/// Empties leaves from time to time, and counts what is parked. A failure is not the end of the tenure: the table grows,
/// that is all.
pub(super) async fn keep_rotating(
    options: Arc<Options>,
    shared: Arc<Shared>,
    lease: Lease,
    database: PgConnectOptions,
) -> Result<(), OutboxError> {
    let (mut empty_since, mut passed_over) = (None, 0);
    loop {
        tokio::time::sleep(options.rotate_every).await;
        let opened = shared.windows_opened();
        let asleep = empty_since == Some(opened) && !shared.is_anything_parked();
        if asleep && passed_over < PASSED_OVER {
            passed_over += 1;
            continue;
        }
        passed_over = 0;
        let round = async {
            let mut connection = connect(&database, options.statement_timeout).await?;
            let round = rotate(&mut connection, &lease, &options.owner).await?;
            count_parked(&mut connection, &options, &shared).await?;
            connection.close().await.ok();
            Ok::<_, OutboxError>(round)
        };
        match round.await {
            Ok(round) => {
                empty_since = (!round.left).then_some(opened);
                let of_the_outbox = u64::try_from(round.of_the_outbox()).unwrap_or(0);
                shared.meters.leaves_emptied.increment(of_the_outbox);
                let emptied = round.emptied;
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
