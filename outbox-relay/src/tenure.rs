use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::fault;
use crate::idle::Idle;
use crate::kafka::refusal::Unsendable;
use crate::keeper::{Keeper, Ledger};
use crate::options::Options;
use crate::outbox::connection::connect;
use crate::outbox::error::OutboxError;
use crate::outbox::identity::Identity;
use crate::outbox::lease::Lease;
use crate::outbox::read::who_is;
use crate::outbox::rotate::rotate;
use crate::outbox::window::{Window, Windows};
use crate::publisher::{Extent, Halt, Publisher};
use crate::state::{Phase, Shared, Stopped};

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

/// Waits after trouble that says nothing of an event.
const RETRY_BROKER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

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
        let mut publisher = Publisher::new(self.options.clone(), self.shared.clone(), self.lease.clone());
        self.shared.set_phase(Phase::Publishing);
        for window in std::mem::take(&mut self.unacked) {
            if !self.publish(&mut publisher, &window, cancel).await? {
                publisher.finish().await;
                return Ok(());
            }
        }
        let mut idle = Idle::new(self.options.poll);
        while !cancel.is_cancelled() {
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

    /// Publishes a window, however often that has to be tried. `false`: the relay was told to stop before
    /// the end of it.
    async fn publish(
        &mut self,
        publisher: &mut Publisher,
        window: &Window,
        cancel: &CancellationToken,
    ) -> Result<bool, OutboxError> {
        let began = Instant::now();
        let mut after = (self.partial.0 == window.number).then_some(self.partial.1);
        let mut in_trouble = Backoff::new(RETRY_BROKER);
        let mut stopped = Backoff::new(self.options.retry_stopped);
        if window.recovery {
            tracing::warn!(source = %self.shared.source, window = window.number, "recovery window goes out");
        }
        loop {
            let ledger = self.ledger.clone();
            let progress = |position| ledger.note(|acked| acked.partial = (window.number, position));
            let halt = match publisher
                .publish(&mut self.connection, window, after, cancel, progress)
                .await
            {
                Ok(Extent::Whole { events, highest }) => {
                    self.acknowledge(window, highest);
                    self.measure(events, began);
                    return Ok(true);
                }
                Ok(Extent::Part) => return Ok(false),
                Err(Halt::Outbox(error)) => return Err(error),
                Err(Halt::Injected(injected)) => return Err(injected.into()),
                Err(halt) => halt,
            };
            let before = after;
            publisher.start_over().await;
            after = publisher.acked_within(window).or(after);
            if after > before {
                in_trouble.reset();
                stopped.reset();
            }
            let wait = if self.explain(&halt).await? {
                stopped.next()
            } else {
                in_trouble.next()
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = cancel.cancelled() => return Ok(false),
            }
        }
    }

    fn acknowledge(&self, window: &Window, highest: i64) {
        self.ledger.note(|acked| {
            acked.window = window.number;
            acked.snapshot = window.until.clone();
            acked.highest = acked.highest.max(highest);
            acked.partial = (0, 0);
        });
    }

    fn measure(&self, events: u64, began: Instant) {
        self.shared.meters.windows.increment(1);
        #[allow(clippy::cast_precision_loss, reason = "a window has fewer than 2^53 events")]
        self.shared.meters.window_events.record(events as f64);
        self.shared
            .meters
            .publish_seconds
            .record(began.elapsed().as_secs_f64());
        if self.shared.is_stopped() {
            tracing::info!(source = %self.shared.source, "outbox flows again");
            self.shared.set_phase(Phase::Publishing);
        }
    }

    /// Says what stopped a window, once. `true`: it is one event that cannot be sent.
    async fn explain(&mut self, halt: &Halt) -> Result<bool, OutboxError> {
        self.shared.meters.broker_errors.increment(1);
        let (position, why) = match halt {
            Halt::Unsendable(cut) => (cut.position, cut.why.clone()),
            Halt::Refused(refused) => match Unsendable::from_code(refused.code) {
                Some(why) => (i64::try_from(refused.position.position).unwrap_or(0), why),
                None => {
                    tracing::warn!(source = %self.shared.source, %halt, "producer starts over");
                    return Ok(false);
                }
            },
            Halt::Client { doing, source } => {
                self.shared.broker_trouble(source, &format!("{doing}: {source}"));
                return Ok(false);
            }
            Halt::Outbox(_) | Halt::Injected(_) => return Ok(false),
        };
        let who = who_is(&mut self.connection, position, self.options.statement_timeout).await?;
        let Some((id, topic, key, r#type)) = who else {
            // Its leaf was emptied, which nobody does to what was not acknowledged.
            tracing::error!(source = %self.shared.source, position, %why, "event that cannot be sent is gone");
            return Ok(true);
        };
        let stopped = Stopped {
            id,
            topic,
            key,
            r#type,
            why,
        };
        let known = matches!(&*self.shared.phase().borrow(), Phase::Stopped(known) if *known == stopped);
        if !known {
            tracing::error!(
                source = %self.shared.source, event = %stopped.id, topic = stopped.topic, key = stopped.key,
                r#type = stopped.r#type, reason = %stopped.why, remedy = stopped.why.remedy(),
                "outbox is stopped by an event that cannot be sent"
            );
            self.shared.set_phase(Phase::Stopped(stopped));
        }
        Ok(true)
    }
}

/// Empties leaves from time to time. A failure is not the end of the tenure: the table grows, that is all.
async fn keep_rotating(
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
                tracing::warn!(source = %shared.source, error = %crate::chain::Chain(&error), "no leaf is emptied");
            }
        }
    }
}

/// A task that ends with whoever started it.
struct Task {
    handle: JoinHandle<Result<(), OutboxError>>,
    abort: AbortHandle,
}

impl Task {
    fn spawn(work: impl Future<Output = Result<(), OutboxError>> + Send + 'static) -> Self {
        let handle = tokio::spawn(work);
        Self {
            abort: handle.abort_handle(),
            handle,
        }
    }

    async fn joined(&mut self) -> Result<(), OutboxError> {
        match (&mut self.handle).await {
            Ok(ended) => ended,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Only its owner aborts it, and the owner is here.
            Err(_) => Ok(()),
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort.abort();
    }
}
