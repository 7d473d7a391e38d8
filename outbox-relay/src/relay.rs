use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::chain::Chain;
use crate::options::Options;
use crate::outbox::connection::connect;
use crate::outbox::error::OutboxError;
use crate::outbox::identity::identify;
use crate::outbox::lease::{acquire, introduce};
use crate::outbox::sessions::are_ours;
use crate::state::{Health, Phase, Shared};
use crate::tenure::Tenure;

/// The relay of one outbox. Several of them run side by side in one process, and none holds up another.
///
/// ```no_run
/// use outbox_relay::{Options, Relay};
/// use tokio_util::sync::CancellationToken;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let kafka = vec![("bootstrap.servers".to_owned(), "localhost:9092".to_owned())];
/// let relay = Relay::new(Options::new(
///     "order".parse()?,
///     "postgres://order_relay@localhost/order".parse()?,
///     kafka,
/// ));
/// let handle = relay.handle();
/// let stop = CancellationToken::new();
/// let running = tokio::spawn(relay.run(stop.clone()));
/// // After a commit, in the same process:
/// handle.ring();
/// // At the end:
/// stop.cancel();
/// running.await?;
/// # Ok(())
/// # }
/// ```
pub struct Relay {
    options: Arc<Options>,
    shared: Arc<Shared>,
}

/// What others do with a running relay: ring its doorbell, ask how it is.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// Waits after a failure of the outbox's database.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long giving the lease back may take.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(3);
/// How often a relay that stands by looks whether the lease is free.
const STAND_BY: Duration = Duration::from_millis(250);

impl Relay {
    /// A relay that does nothing until it is run. Its metrics go to the recorder that is installed now.
    pub fn new(options: Options) -> Self {
        Self {
            shared: Arc::new(Shared::new(options.source.clone(), options.owner.clone())),
            options: Arc::new(options),
        }
    }

    /// For the doorbell and for health checks.
    pub fn handle(&self) -> Handle {
        Handle {
            shared: self.shared.clone(),
        }
    }

    /// Publishes until `cancel`. Whatever goes wrong is visible and tried again, so there is no error to
    /// return.
    ///
    /// When told to stop it finishes the window in flight, within [`Options::finish_within`], and gives the
    /// lease back. When it is dropped instead, that is as good as a crash.
    pub async fn run(self, cancel: CancellationToken) {
        let mut retry = Backoff::new(RETRY);
        let mut former = None;
        while !cancel.is_cancelled() {
            let began = Instant::now();
            let attempt = tokio::select! {
                attempt = self.attempt(&mut former, &cancel) => attempt,
                // A database that does not answer must not keep the process from ending.
                () = self.out_of_time(&cancel) => Ok(()),
            };
            self.shared.set_lease(None);
            if let Err(error) = attempt {
                self.shared.meters.outbox_errors.increment(1);
                self.complain(&error);
                if began.elapsed() > RETRY.1 {
                    retry.reset();
                }
                tokio::select! {
                    () = tokio::time::sleep(retry.next()) => {}
                    () = cancel.cancelled() => {}
                }
            }
        }
        self.shared.set_phase(Phase::Ended);
    }

    async fn out_of_time(&self, cancel: &CancellationToken) {
        cancel.cancelled().await;
        // A tenure bounds its own end; what remains is giving the lease back.
        tokio::time::sleep(self.options.finish_within + GIVE_BACK_WITHIN).await;
    }

    /// One tenure, from connecting to the end of the lease.
    async fn attempt(&self, former: &mut Option<i64>, cancel: &CancellationToken) -> Result<(), OutboxError> {
        let options = &self.options;
        let patience = options.statement_timeout;
        let database = options.database.primary().await?;
        are_ours(&database).await?;
        let mut connection = connect(&database, patience).await?;
        let identity = identify(&mut connection, patience).await?;
        introduce(&mut connection, &options.source, identity, patience).await?;
        let (lease, acquired_at) = loop {
            let before = Instant::now();
            let answer = acquire(
                &mut connection,
                &options.source,
                &options.owner,
                options.lease,
                *former,
                patience,
            )
            .await?;
            match answer {
                Ok(lease) => break (lease, before),
                Err(holder) => {
                    if !matches!(&*self.shared.phase().borrow(), Phase::Standby { owner } if *owner == holder.owner)
                    {
                        tracing::info!(
                            source = %options.source, owner = holder.owner,
                            remaining_ms = holder.remaining.as_millis(), "standing by"
                        );
                    }
                    // From now on that is the other one's to tell.
                    self.shared.set_oldest(None);
                    self.shared.set_phase(Phase::Standby { owner: holder.owner });
                }
            }
            tokio::select! {
                () = tokio::time::sleep(STAND_BY) => {}
                () = cancel.cancelled() => {
                    connection.close().await.ok();
                    return Ok(());
                }
            }
        };
        *former = Some(lease.fence);
        self.shared.set_lease(Some(lease.fence));
        tracing::info!(source = %options.source, fence = lease.fence, "lease is acquired");
        // The server may have been replaced while we stood by.
        let identity = identify(&mut connection, patience).await?;
        let tenure = Tenure::begin(
            options.clone(),
            self.shared.clone(),
            lease,
            identity,
            (database, connection),
        )
        .await?;
        tenure.serve(acquired_at, cancel).await
    }

    fn complain(&self, error: &OutboxError) {
        let reason = Chain(error).to_string();
        let phase = Phase::Failing {
            reason: reason.clone(),
        };
        // Each new trouble is news; the same one again is not.
        if *self.shared.phase().borrow() != phase {
            match error {
                OutboxError::Standby
                | OutboxError::SharedSession
                | OutboxError::NotMigrated
                | OutboxError::OtherName { .. } => {
                    tracing::error!(source = %self.shared.source, reason, "outbox cannot be served");
                }
                _ => {
                    tracing::warn!(source = %self.shared.source, reason, "outbox cannot be served right now")
                }
            }
        }
        self.shared.set_phase(phase);
    }
}

impl Handle {
    /// A hint that something was committed: the relay looks at once instead of within its polling interval.
    /// Costs next to nothing, and nothing is lost if nobody rings.
    pub fn ring(&self) {
        self.shared.doorbell.notify_one();
    }

    /// How the relay is.
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Follows what the relay is doing.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.shared.phase()
    }

    /// The age of the oldest event that was not published.
    pub fn oldest_unpublished(&self) -> Duration {
        self.shared.update_age()
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("source", &self.shared.source)
            .finish_non_exhaustive()
    }
}
