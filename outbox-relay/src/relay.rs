use std::sync::Arc;
use std::time::{Duration, Instant};

use quadrille_process::Chain;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::fault::{self, Point};
use crate::options::Options;
use crate::outbox::connection::connect;
use crate::outbox::error::OutboxError;
use crate::outbox::identity::identify;
use crate::outbox::lease::{Holder, Lease, acquire, holder, introduce};
use crate::outbox::sessions::are_ours;
use crate::outbox::standby::{announce, fewest_held, withdraw};
use crate::spread::Instance;
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
    instance: Option<Instance>,
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
/// For how long a relay that gave way does not take the lease itself: those for whom it did look as often as it does.
const YIELD: Duration = Duration::from_secs(2);

/// What a relay remembers of its last tenure.
#[derive(Debug, Default)]
struct Last {
    fence: Option<i64>,
    /// When it gave the lease to another process that has less to do.
    gave_way: Option<Instant>,
    /// The database was found to be older than what was published from it.
    went_back: bool,
}

impl Relay {
    /// A relay that does nothing until it is run. Its metrics go to the recorder that is installed now.
    pub fn new(options: Options) -> Self {
        Self {
            shared: Arc::new(Shared::new(options.source.clone(), options.owner.clone())),
            options: Arc::new(options),
            instance: None,
        }
    }

    /// Shares its outbox with other processes: the one that holds most gives way to one that stands by and holds at
    /// least two fewer. All relays of a process belong to one instance.
    #[must_use]
    pub fn of(mut self, instance: &Instance) -> Self {
        self.instance = Some(instance.clone());
        self
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
        let mut last = Last::default();
        while !cancel.is_cancelled() {
            let began = Instant::now();
            let attempt = tokio::select! {
                attempt = self.attempt(&mut last, &cancel) => attempt,
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
    async fn attempt(&self, last: &mut Last, cancel: &CancellationToken) -> Result<(), OutboxError> {
        let options = &self.options;
        let patience = options.statement_timeout;
        let database = options.database.primary().await?;
        are_ours(&database).await?;
        let mut connection = connect(&database, patience).await?;
        let identity = identify(&mut connection, patience).await?;
        introduce(&mut connection, &options.source, identity, patience).await?;
        let Some((lease, acquired_at)) = self.stand_by(&mut connection, last, cancel).await? else {
            connection.close().await.ok();
            return Ok(());
        };
        last.fence = Some(lease.fence);
        self.shared.set_lease(Some(lease.fence));
        let _holding = self.instance.as_ref().map(Instance::holds_one_more);
        tracing::info!(source = %options.source, fence = lease.fence, "lease is acquired");
        fault::point(Point::RelayAfterAcquire, &options.owner, options.source.as_str()).await?;
        // The server may have been replaced while we stood by.
        let identity = identify(&mut connection, patience).await?;
        let tenure = Tenure::begin(
            options.clone(),
            self.shared.clone(),
            (lease, acquired_at),
            (identity, std::mem::take(&mut last.went_back)),
            (database, connection),
        )
        .await?;
        let give_way = cancel.child_token();
        let served = tenure.serve(self.instance.clone(), &give_way).await;
        last.went_back = matches!(served, Err(OutboxError::WentBack { .. }));
        served?;
        if !cancel.is_cancelled() {
            last.gave_way = Some(Instant::now());
        }
        Ok(())
    }

    /// Waits for the lease. `None`: the relay was told to stop before it had it.
    async fn stand_by(
        &self,
        connection: &mut PgConnection,
        last: &Last,
        cancel: &CancellationToken,
    ) -> Result<Option<(Lease, Instant)>, OutboxError> {
        let options = &self.options;
        let patience = options.statement_timeout;
        let (mut announced, mut free_since): (Option<Instant>, Option<Instant>) = (None, None);
        // One that is still ours may be taken before its end.
        let mut own = last.fence;
        loop {
            fault::point(Point::RelayBeforeAcquire, &options.owner, options.source.as_str()).await?;
            let before = Instant::now();
            let known = holder(connection, &options.source, patience).await?;
            // Somebody else was to have it: they look as often as we do.
            let yields = last.gave_way.is_some_and(|at| at.elapsed() < YIELD)
                || self.others_first(connection, &known, &mut free_since).await?;
            let answer = if yields || (!known.remaining.is_zero() && own.is_none()) {
                Err(known)
            } else {
                let (name, lease) = (&options.owner, options.lease);
                acquire(connection, &options.source, name, lease, own.take(), patience).await?
            };
            match answer {
                Ok(lease) => {
                    if let (Some(instance), Some(_)) = (&self.instance, announced) {
                        withdraw(connection, instance.id(), patience).await?;
                    }
                    return Ok(Some((lease, before)));
                }
                Err(holder) => self.tell_standby(holder),
            }
            if let Some(instance) = &self.instance
                && announced.is_none_or(|at| at.elapsed() >= options.lease / 3)
            {
                let who = (instance.id(), options.owner.as_str());
                announce(connection, who, instance.held(), patience).await?;
                announced = Some(Instant::now());
            }
            tokio::select! {
                () = tokio::time::sleep(STAND_BY) => {}
                () = cancel.cancelled() => {
                    if let Some(instance) = &self.instance {
                        withdraw(connection, instance.id(), patience).await?;
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// Whether a lease that is free is for somebody who stands by, too, and holds fewer. For a while: they may be gone.
    async fn others_first(
        &self,
        connection: &mut PgConnection,
        holder: &Holder,
        free_since: &mut Option<Instant>,
    ) -> Result<bool, OutboxError> {
        let patience = self.options.statement_timeout;
        let Some(instance) = self.instance.as_ref().filter(|instance| instance.held() > 0) else {
            return Ok(false);
        };
        if !holder.remaining.is_zero() {
            *free_since = None;
            return Ok(false);
        }
        let waited = free_since.get_or_insert_with(Instant::now).elapsed();
        let fewest = fewest_held(connection, instance.id(), self.options.lease, patience).await?;
        Ok(waited < YIELD && fewest.is_some_and(|others| others < instance.held()))
    }

    fn tell_standby(&self, Holder { owner, remaining }: Holder) {
        if !matches!(&*self.shared.phase().borrow(), Phase::Standby { owner: known } if *known == owner) {
            tracing::info!(
                source = %self.options.source, owner, remaining_ms = remaining.as_millis(), "standing by"
            );
        }
        // From now on that is the other one's to tell.
        self.shared.set_oldest(None);
        self.shared.set_phase(Phase::Standby { owner });
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
        self.shared.meters.rings.increment(1);
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
