use std::sync::Arc;
use std::time::Instant;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::fault;
use crate::idle::Idle;
use crate::keeper::{Keeper, Ledger};
use crate::options::Options;
use crate::outbox::connection::connect;
use crate::outbox::error::OutboxError;
use crate::outbox::identity::Identity;
use crate::outbox::lease::Lease;
use crate::outbox::window::{Window, Windows};
use crate::publisher::Publisher;
use crate::state::{Phase, Shared};
use crate::task::Task;
use parking::Looks;
use rotating::keep_rotating;

/// Setting aside what cannot be sent, and sending it again.
mod parking;

/// One window, however often that has to be tried.
mod publish;

/// Emptying leaves.
mod rotating;

/// The time during which one relay holds an outbox's lease.
pub(crate) struct Tenure {
    options: Arc<Options>,
    shared: Arc<Shared>,
    lease: Lease,
    /// The server that the lease was acquired on.
    database: PgConnectOptions,
    connection: PgConnection,
    ledger: Ledger,
    windows: Windows,
    unacked: Vec<Window>,
    /// How far the first of them was published.
    partial: (i64, i64),
}

impl Tenure {
    /// Looks where the owner before us left off. On a server whose history is another one, a new epoch
    /// begins.
    pub(crate) async fn begin(
        options: Arc<Options>,
        shared: Arc<Shared>,
        lease: Lease,
        identity: Identity,
        (database, mut connection): (PgConnectOptions, PgConnection),
    ) -> Result<Self, OutboxError> {
        let patience = options.statement_timeout;
        let mut standing = lease.standing(&mut connection, patience).await?;
        if standing.identity != identity {
            let left_over = lease.recover(&mut connection, identity, patience).await?;
            standing = lease.standing(&mut connection, patience).await?;
            tracing::warn!(
                source = %lease.source, epoch = standing.epoch, left_over,
                "server has another history (restored, copied or promoted); a new epoch begins"
            );
        }
        let (unacked, windows) = Windows::resume(lease.clone(), &standing, &mut connection, patience).await?;
        let partial = standing.acked.partial;
        Ok(Self {
            options,
            shared,
            lease,
            database,
            connection,
            ledger: Ledger::new(standing.acked),
            windows,
            unacked,
            partial,
        })
    }

    /// Publishes until `cancel`, then gives the lease back.
    ///
    /// # Errors
    /// When the lease is lost or may be, or the database fails. Nothing is sent any more by then.
    pub(crate) async fn serve(
        self,
        acquired_at: Instant,
        cancel: &CancellationToken,
    ) -> Result<(), OutboxError> {
        let keeper = Keeper {
            lease: self.lease.clone(),
            connection: connect(&self.database, self.options.statement_timeout).await?,
            ledger: self.ledger.clone(),
            shared: self.shared.clone(),
            persist_every: self.options.persist_every,
            renewed_at: acquired_at,
        };
        let finish = CancellationToken::new();
        let mut keeping = Task::spawn(keeper.keep(finish.clone()));
        let _rotating = Task::spawn(keep_rotating(
            self.options.clone(),
            self.shared.clone(),
            self.lease.clone(),
            self.database.clone(),
        ));
        let bound = self.options.finish_within;
        {
            let publishing = self.publish_all(cancel);
            let out_of_time = async {
                cancel.cancelled().await;
                tokio::time::sleep(bound).await;
            };
            tokio::select! {
                published = publishing => published?,
                kept = keeping.joined() => return kept,
                () = out_of_time => {
                    tracing::warn!(
                        "window in flight is abandoned; the next owner publishes it with the same positions"
                    );
                }
            }
        }
        finish.cancel();
        keeping.joined().await
    }

    async fn publish_all(mut self, cancel: &CancellationToken) -> Result<(), OutboxError> {
        let parked = self.load_parked().await?;
        let mut publisher = Publisher::new(
            self.options.clone(),
            self.shared.clone(),
            self.lease.clone(),
            parked,
        );
        self.shared.set_phase(Phase::Publishing);
        publisher.warm_up(&mut self.connection).await?;
        for window in std::mem::take(&mut self.unacked) {
            if !self.publish(&mut publisher, &window, cancel).await? {
                publisher.finish().await;
                return Ok(());
            }
        }
        let mut idle = Idle::new(self.options.poll);
        let mut looks = Looks::default();
        while !cancel.is_cancelled() {
            if let Some(replay) = self.due_replay(&mut publisher, &mut looks).await?
                && !self.publish(&mut publisher, &replay, cancel).await?
            {
                break;
            }
            if let Some(window) = self.windows.open(&mut self.connection).await? {
                fault::point("relay::after_window_commit", &self.shared.owner).await?;
                idle.wake();
                if !self.publish(&mut publisher, &window, cancel).await? {
                    break;
                }
            } else {
                self.shared.set_oldest(None);
                tokio::select! {
                    () = self.shared.doorbell.notified() => idle.wake(),
                    () = tokio::time::sleep(idle.wait()) => {}
                    () = cancel.cancelled() => {}
                }
            }
        }
        publisher.finish().await;
        // Spares the server a reset connection in its log.
        self.connection.close().await.ok();
        Ok(())
    }
}
