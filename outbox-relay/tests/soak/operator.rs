use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use sqlx::postgres::PgConnection;
use tokio::task::JoinHandle;

use super::support::Outbox;
use super::writers::Progress;

/// Whoever is called when events are parked: has all of them sent again, again and again, as `sagactl outbox replay` would.
#[derive(Debug)]
pub struct Operator(JoinHandle<()>);

/// A topic that still refuses them parks them once more.
const EVERY: Duration = Duration::from_millis(500);

const REPLAY: &str =
    "update saga.outbox_parked_key set replay_requested = clock_timestamp() where replay_requested is null";

impl Operator {
    pub fn start(outbox: &Outbox, progress: Arc<Progress>) -> Self {
        let outbox = outbox.clone();
        Self(tokio::spawn(async move {
            let mut session = None;
            loop {
                tokio::time::sleep(EVERY).await;
                // The server may be coming back.
                session = replay(&outbox, session, &progress).await.ok();
            }
        }))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn replay(outbox: &Outbox, session: Option<PgConnection>, progress: &Progress) -> Result<PgConnection> {
    let mut session = match session {
        Some(session) => session,
        None => outbox.superuser().await?,
    };
    let asked = sqlx::query(REPLAY).execute(&mut session).await?.rows_affected();
    progress.replays.fetch_add(asked, Ordering::Relaxed);
    Ok(session)
}
