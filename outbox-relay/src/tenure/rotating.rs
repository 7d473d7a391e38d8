use std::sync::Arc;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::parking::count_parked;
use crate::options::Options;
use crate::outbox::connection::connect;
use crate::outbox::error::OutboxError;
use crate::outbox::lease::Lease;
use crate::outbox::rotate::rotate;
use crate::state::Shared;

/// Where no window was opened since all leaves were empty, there is nothing to be emptied but what was rolled back. So
/// many rounds are passed over then, and the session is given back: there may be a hundred outboxes that sleep. While events
/// come it is kept, since each new one costs the server a process, a login and the plans of all statements.
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
    let mut session: Option<PgConnection> = None;
    loop {
        tokio::time::sleep(options.rotate_every).await;
        let opened = shared.windows_opened();
        let asleep = empty_since == Some(opened) && !shared.is_anything_parked();
        if asleep && passed_over < PASSED_OVER {
            passed_over += 1;
            if let Some(session) = session.take() {
                session.close().await.ok();
            }
            continue;
        }
        passed_over = 0;
        let round = async {
            // One that has failed is not taken again.
            let mut connection = match session.take() {
                Some(connection) => connection,
                None => connect(&database, options.statement_timeout).await?,
            };
            let round = rotate(&mut connection, &lease, &options.owner).await?;
            count_parked(&mut connection, &options, &shared).await?;
            session = Some(connection);
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
