use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::fault::{self, Point};
use crate::outbox::error::OutboxError;
use crate::outbox::lease::{Acked, Lease};
use crate::outbox::snapshot::Snapshot;
use crate::outbox::standby::fewest_held;
use crate::outbox::window::Window;
use crate::spread::Instance;
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

    /// All of a window, and of those before it, is acknowledged.
    pub(crate) fn acknowledge(&self, window: &Window, highest: i64) {
        let mut acked = self.lock();
        acked.window = window.number;
        acked.snapshot = window.until.clone();
        if !window.replay {
            acked.highest = acked.highest.max(highest);
        }
        acked.partial = (0, 0);
    }

    /// A window is acknowledged up to a position of it, and all before it.
    pub(crate) fn note_part(&self, window: &Window, position: Option<i64>) {
        if let Some(position) = position {
            self.lock().partial = (window.number, position);
        }
    }

    /// The snapshot of the last window that is.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.lock().snapshot.clone()
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
    /// The process that shares its outboxes with others, if it does, and what tells the relay to give way to one.
    pub(crate) spread: Option<(Instance, CancellationToken)>,
}

/// Each must be shorter than what the lease leaves.
const SAFETY: Duration = Duration::from_millis(200);

impl Keeper {
    /// Keeps the lease until `finish`, then gives it back. Ends earlier only if the lease is lost, or may
    /// be: then nothing must be sent any more.
    pub(crate) async fn keep(mut self, finish: CancellationToken) -> Result<(), OutboxError> {
        let mut persisted = self.ledger.read();
        // Not at once: whoever stands by is only just finding out who does.
        let mut looked = Instant::now();
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
                self.pass(Point::RelayBeforePersist).await?;
                self.renew(&acked).await?;
                self.pass(Point::RelayAfterPersist).await?;
                persisted = acked;
            }
            self.ledger.0.persisted.send_replace(persisted.window);
            if !finishing && looked.elapsed() >= self.lease.duration {
                looked = Instant::now();
                self.give_way().await?;
            }
            if finishing {
                self.pass(Point::RelayBeforeRelease).await?;
                let remaining = self.remaining();
                self.lease.release(&mut self.connection, remaining).await?;
                // The server notices by itself if this goes wrong.
                self.connection.close().await.ok();
                return Ok(());
            }
        }
    }

    /// Ends the tenure if another process that stands by has less to do.
    async fn give_way(&mut self) -> Result<(), OutboxError> {
        let remaining = self.remaining();
        let Some((instance, give_way)) = &self.spread else {
            return Ok(());
        };
        // It says so three times per lease; what it says is at most this old.
        let round = self.lease.duration;
        let fewest = fewest_held(&mut self.connection, instance.id(), round, remaining).await?;
        if let Some(fewest) = fewest
            && instance.gives_way(fewest, Instant::now(), round)
        {
            tracing::info!(
                source = %self.lease.source, held = instance.held(), others = fewest,
                "lease goes to a process that holds fewer"
            );
            give_way.cancel();
        }
        Ok(())
    }

    async fn renew(&mut self, acked: &Acked) -> Result<(), OutboxError> {
        // The lease counts from before the statement, whatever the server took for it.
        let before = Instant::now();
        let remaining = self.remaining();
        self.lease.renew(&mut self.connection, acked, remaining).await?;
        self.renewed_at = before;
        Ok(())
    }

    async fn pass(&self, point: Point) -> Result<(), OutboxError> {
        Ok(fault::point(point, &self.shared.owner, self.lease.source.as_str()).await?)
    }

    fn remaining(&self) -> Duration {
        self.lease
            .duration
            .saturating_sub(self.renewed_at.elapsed())
            .saturating_sub(SAFETY)
    }
}
