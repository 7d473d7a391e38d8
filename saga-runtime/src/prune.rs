//! Deletes what would grow for ever, after its retention.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use saga_core::Participant;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::metrics as names;
use crate::store::Store;

const COMMANDS: &str = "\
delete from saga.command where ctid = any(array(
    select ctid from saga.command where created_at < $1 limit $2))";

const INBOX: &str = "select saga.inbox_rotate($1)";

// A process whose clock is far ahead would delete what is to be kept.
const NOW: &str = "select clock_timestamp()";

/// The statements of this module.
pub(crate) const STATEMENTS: &[(&str, &str)] = &[("commands", COMMANDS), ("inbox", INBOX), ("now", NOW)];

/// Rows that one transaction deletes, so that none of them is long.
const AT_ONCE: i64 = 1000;
/// How often it is looked for something to delete.
const EVERY: Duration = Duration::from_secs(60);

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Idempotency keys with their answers: how late a caller may ask again.
    pub commands: Duration,
    /// Ended sagas with their barriers, in services that prune: longer than the topics are kept, and than an
    /// operator may take for a replay.
    pub ended_sagas: Duration,
    /// Rows that are there only because somebody locked them: they say nothing, so not for long.
    pub blank_rows: Duration,
    /// Inbox rows, in days: the same bound.
    pub inbox_days: i32,
}

impl Default for Retention {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self {
            commands: 3 * day,
            ended_sagas: 45 * day,
            blank_rows: Duration::from_secs(600),
            inbox_days: 45,
        }
    }
}

/// Prunes until it is told to stop.
pub(crate) async fn run<P: Participant, S: Store<P>>(
    engine: Arc<Engine<P, S>>,
    pool: PgPool,
    retention: Retention,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        match prune(&engine, &pool, retention).await {
            Ok(more) if more => tokio::task::yield_now().await,
            Ok(_) => tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => {}
            },
            Err(error) => {
                tracing::warn!(participant = P::NAME, %error, "cannot prune");
                tokio::select! {
                    () = tokio::time::sleep(EVERY) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }
}

/// One round; says whether there may be more.
async fn prune<P: Participant, S: Store<P>>(
    engine: &Engine<P, S>,
    pool: &PgPool,
    retention: Retention,
) -> Result<bool, sqlx::Error> {
    let now: DateTime<Utc> = sqlx::query_scalar(NOW).fetch_one(pool).await?;
    let commands = sqlx::query(COMMANDS)
        .bind(now - retention.commands)
        .bind(AT_ONCE)
        .execute(pool)
        .await?
        .rows_affected();
    let mut tx = pool.begin().await?;
    let sagas = engine
        .store
        .prune(&mut tx, now - retention.ended_sagas, AT_ONCE)
        .await?;
    tx.commit().await?;
    let mut tx = pool.begin().await?;
    let blank = engine
        .store
        .prune_blank(&mut tx, now - retention.blank_rows, AT_ONCE)
        .await?;
    tx.commit().await?;
    sqlx::query(INBOX)
        .bind(retention.inbox_days)
        .execute(pool)
        .await?;
    metrics::counter!(names::PRUNED, "participant" => P::NAME, "what" => "commands").increment(commands);
    metrics::counter!(names::PRUNED, "participant" => P::NAME, "what" => "sagas").increment(sagas);
    metrics::counter!(names::PRUNED, "participant" => P::NAME, "what" => "blank_rows").increment(blank);
    Ok(commands + sagas + blank >= AT_ONCE.unsigned_abs())
}
