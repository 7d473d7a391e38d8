use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::fault;
use crate::outbox::error::OutboxError;
use crate::outbox::lease::{Acked, Lease};
use crate::state::Shared;

/// What was acknowledged, written by who publishes, persisted by the keeper.
#[derive(Debug, Clone)]
pub(crate) struct Ledger(Arc<Book>);

#[derive(Debug)]
struct Book {
    acked: Mutex<Acked>,
    /// Somebody cannot wait until it is time.
    wanted: Notify,
    /// The last window that is known to the database.
    persisted: watch::Sender<i64>,
}

impl Ledger {
    pub(crate) fn new(acked: Acked) -> Self {
        Self(Arc::new(Book {
            wanted: Notify::new(),
            persisted: watch::Sender::new(acked.window),
            acked: Mutex::new(acked),
        }))
    }

    /// Waits until the database knows all that is acknowledged now. Never returns once the keeper has ended, which ends
    /// the tenure.
    pub(crate) async fn persisted(&self) {
        let window = self.read().window;
        let mut persisted = self.0.persisted.subscribe();
        self.0.wanted.notify_one();
        // The sender lives as long as we do.
        persisted.wait_for(|known| *known >= window).await.ok();
    }

    pub(crate) fn note(&self, change: impl FnOnce(&mut Acked)) {
        change(&mut self.lock());
    }

    fn read(&self) -> Acked {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Acked> {
        self.0.acked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews the lease and persists what was acknowledged, on a connection of its own: the broker may keep
/// who publishes waiting for as long as it likes.
pub(crate) struct Keeper {
    pub(crate) lease: Lease,
    pub(crate) connection: PgConnection,
    pub(crate) ledger: Ledger,
    pub(crate) shared: Arc<Shared>,
    pub(crate) persist_every: Duration,
    /// When the lease was acquired, or a moment before.
    pub(crate) renewed_at: Instant,
}

/// Each must be shorter than what the lease leaves.
const SAFETY: Duration = Duration::from_millis(200);

impl Keeper {
    /// Keeps the lease until `finish`, then gives it back. Ends earlier only if the lease is lost, or may
    /// be: then nothing must be sent any more.
    pub(crate) async fn keep(mut self, finish: CancellationToken) -> Result<(), OutboxError> {
        let mut persisted = self.ledger.read();
        loop {
            let finishing = tokio::select! {
                () = finish.cancelled() => true,
                () = self.ledger.0.wanted.notified() => false,
                () = tokio::time::sleep(self.persist_every.min(self.lease.duration / 3)) => false,
            };
            self.shared.update_age();
            let acked = self.ledger.read();
            let due = self.renewed_at.elapsed() >= self.lease.duration / 3;
            if due || finishing || acked != persisted {
                fault::point("relay::after_ack_before_persist", &self.shared.owner).await?;
                self.renew(&acked).await?;
                persisted = acked;
            }
            self.ledger.0.persisted.send_replace(persisted.window);
            if finishing {
                let remaining = self.remaining();
                self.lease.release(&mut self.connection, remaining).await?;
                // The server notices by itself if this goes wrong.
                self.connection.close().await.ok();
                return Ok(());
            }
        }
    }

    async fn renew(&mut self, acked: &Acked) -> Result<(), OutboxError> {
        // The lease counts from before the statement, whatever the server took for it.
        let before = Instant::now();
        let remaining = self.remaining();
        self.lease.renew(&mut self.connection, acked, remaining).await?;
        self.renewed_at = before;
        Ok(())
    }

    fn remaining(&self) -> Duration {
        self.lease
            .duration
            .saturating_sub(self.renewed_at.elapsed())
            .saturating_sub(SAFETY)
    }
}
