use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::fault::{self, Point};
use crate::idle::Idle;
use crate::keeper::{Keeper, Ledger};
use crate::options::Options;
use crate::outbox::connection::connect_relaxed;
use crate::outbox::error::OutboxError;
use crate::outbox::identity::Identity;
use crate::outbox::lease::Lease;
use crate::outbox::topics;
use crate::outbox::window::{Window, Windows};
use crate::publisher::Publisher;
use crate::ring::Ring;
use crate::spread::Instance;
use crate::state::{Phase, Shared};
use crate::task::Task;
use growing::Growth;
use history::History;
use parking::Looks;
use rotating::keep_rotating;

/// Setting aside what cannot be sent, and sending it again.
mod parking;

/// One window by itself, however often that has to be tried.
mod publish;

/// Several windows on their way at once.
mod in_ring;

/// Spreading a topic's keys over more partitions.
mod growing;

/// Whether the database is older than what was published from it.
mod history;

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
    history: History,
    /// When the lease was acquired, or given anew, or a moment before.
    leased_at: Instant,
}

/// Of millions of rows each is written.
const RECOVER_WITHIN: Duration = Duration::from_secs(30 * 60);

impl Tenure {
    /// Looks where the owner before us left off. On a server whose history is another one, a new epoch
    /// begins, and also where `went_back` says that the database is older than what was published from it.
    pub(crate) async fn begin(
        options: Arc<Options>,
        shared: Arc<Shared>,
        (lease, mut leased_at): (Lease, Instant),
        (identity, went_back): (Identity, bool),
        (database, mut connection): (PgConnectOptions, PgConnection),
    ) -> Result<Self, OutboxError> {
        let patience = options.statement_timeout;
        let mut standing = lease.standing(&mut connection, patience).await?;
        if standing.identity != identity || went_back {
            let left_over = match lease.resume(&mut connection, identity, patience).await? {
                Some(left_over) => left_over,
                None => {
                    tracing::warn!(
                        source = %lease.source, within_s = RECOVER_WITHIN.as_secs(),
                        "transaction ids in the outbox are another server's; every row is stamped afresh, and writers wait"
                    );
                    let recovered = lease.recover(&mut connection, identity, RECOVER_WITHIN);
                    let (left_over, at) = recovered.await?;
                    leased_at = at;
                    left_over
                }
            };
            standing = lease.standing(&mut connection, patience).await?;
            tracing::warn!(
                source = %lease.source, epoch = standing.epoch, left_over,
                went_back, "server has another history (restored, copied or promoted); a new epoch begins"
            );
        }
        let (unacked, windows) = Windows::resume(lease.clone(), &standing, &mut connection, patience).await?;
        let partial = standing.acked.partial;
        let history = History {
            epoch: standing.epoch,
            last: windows.last(),
        };
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
            history,
            leased_at,
        })
    }

    /// Publishes until `cancel`, then gives the lease back. Cancels by itself if another instance has less to do.
    ///
    /// # Errors
    /// When the lease is lost or may be, or the database fails. Nothing is sent any more by then.
    pub(crate) async fn serve(
        self,
        instance: Option<Instance>,
        cancel: &CancellationToken,
    ) -> Result<(), OutboxError> {
        let keeper = Keeper {
            lease: self.lease.clone(),
            connection: connect_relaxed(&self.database, self.options.statement_timeout).await?,
            ledger: self.ledger.clone(),
            shared: self.shared.clone(),
            persist_every: self.options.persist_every,
            renewed_at: self.leased_at,
            spread: instance.clone().map(|instance| (instance, cancel.clone())),
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
            let publishing = self.publish_all(instance, cancel);
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

    async fn publish_all(
        mut self,
        instance: Option<Instance>,
        cancel: &CancellationToken,
    ) -> Result<(), OutboxError> {
        let parked = self.load_parked().await?;
        let mut publisher = Publisher::new(
            (self.options.clone(), instance.clone()),
            self.shared.clone(),
            self.lease.clone(),
            (parked, self.history.known()),
        );
        // A broker that is away keeps us from the first window, and what waits meanwhile has to be seen.
        let acked = self.ledger.snapshot();
        let oldest = self.windows.oldest_waiting(&mut self.connection, &acked).await?;
        self.shared.set_oldest(oldest);
        self.shared.set_phase(Phase::Publishing);
        let known = topics::known(&mut self.connection, self.options.statement_timeout).await?;
        let (warmed, looked) = tokio::join!(
            publisher.warm_up(&mut self.connection),
            self.history
                .look(&self.options, (&self.shared, instance.as_ref()), known, cancel)
        );
        warmed?;
        publisher.go_on_behind(looked?);
        for window in std::mem::take(&mut self.unacked) {
            if !self.publish(&mut publisher, &window, cancel).await? {
                publisher.finish().await;
                return Ok(());
            }
        }
        let (mut ring, mut looks) = (Ring::new(self.options.in_flight_windows), Looks::default());
        let mut growth = Growth::new(&self.options.kafka);
        let mut idle = Idle::new(self.options.poll, instance);
        while !cancel.is_cancelled() {
            if looks.is_due(&publisher)
                && let Some(subject) = self.due_replay(&mut publisher, &mut looks).await?
                && !(self.empty(&mut publisher, &mut ring, cancel).await?
                    && self.replay(&mut publisher, &mut looks, &subject, cancel).await?)
            {
                break;
            }
            if growth.is_due() && !self.grow(&mut publisher, &mut ring, &mut growth, cancel).await? {
                break;
            }
            publisher.rest();
            let cheaply = idle.looks_cheaply();
            if !ring.is_full()
                && (!cheaply || self.windows.is_due(&mut self.connection).await?)
                && let Some(window) = self.windows.open(&mut self.connection).await?
            {
                self.shared.window_opened();
                let source = self.lease.source.as_str();
                fault::point(Point::RelayAfterWindow, &self.shared.owner, source).await?;
                idle.wake();
                if !self
                    .send_behind(&mut publisher, &mut ring, window, cancel)
                    .await?
                {
                    break;
                }
            }
            let wait = if ring.is_empty() { idle.wait() } else { ring.pace() };
            let room = !ring.is_full();
            tokio::select! {
                acknowledged = ring.first_acknowledged() => {
                    if let Err(halt) = acknowledged
                        && !self.one_by_one(&mut publisher, &mut ring, halt, None, cancel).await?
                    {
                        break;
                    }
                }
                // While windows are on their way, what comes meanwhile shares the next.
                () = self.shared.doorbell.notified(), if ring.is_empty() => idle.wake(),
                () = tokio::time::sleep(wait), if room => {}
                () = cancel.cancelled() => {}
            }
            ring.reap(&self.ledger, &self.shared).await?;
            publisher.tell_oldest();
        }
        self.empty(&mut publisher, &mut ring, cancel).await?;
        publisher.finish().await;
        // Spares the server a reset connection in its log.
        self.connection.close().await.ok();
        Ok(())
    }
}
