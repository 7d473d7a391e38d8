//! Commands with group commit: requests that arrive together share a transaction, and each caller gets its
//! own answer.

pub(crate) mod idempotency;

use std::sync::Arc;
use std::time::Duration;

use quadrille_process::fault::{self, Point};
use saga_core::Participant;
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::database;
use crate::engine::batch::{self, Entry, Idempotency, Origin, What};
use crate::engine::decide::Reply;
use crate::engine::{Applied, Engine, Told};
use crate::metrics as names;
use crate::store::Store;

/// How commands are taken.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Commands that wait for a transaction. When they are this many, the next caller is told to come back.
    pub waiting_max: usize,
    /// Commands in one transaction.
    pub batch_max: usize,
    /// Transactions at the same time: half the cores, up to 4. A second one fills while the first waits for the disk.
    pub workers: usize,
    /// How long a command is tried while the database is away, if its caller set no deadline.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            waiting_max: 2048,
            batch_max: 256,
            workers: database::workers(),
            patience: Duration::from_secs(10),
        }
    }
}

/// Hands commands to a participant. Cheap to clone.
#[derive(Debug)]
pub struct Commands<P: Participant> {
    waiting: mpsc::Sender<Request<P>>,
    patience: Duration,
}

/// The answer to a command.
#[derive(Debug)]
pub struct Answer<P: Participant> {
    /// What the participant replied.
    pub reply: P::Reply,
    /// It was decided earlier, under the same idempotency key.
    pub replayed: bool,
}

/// Why a command has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommandError<R> {
    /// The participant refused it; nothing was changed.
    #[error("the command was refused")]
    Refused(R),
    /// The idempotency key was used before, with another request.
    #[error("the idempotency key was used before with another request")]
    KeyReused,
    /// The saga is parked.
    #[error("the saga cannot take commands: {0}")]
    Parked(String),
    /// It cannot be decided or stored, and this call changed nothing. The log says why; that is not the caller's business.
    #[error("the service made a mistake")]
    GivenUp,
    /// Too many commands are waiting.
    #[error("too many commands are waiting; come back later")]
    Overloaded,
    /// The database was away for longer than the caller could wait. It may have been done all the same:
    /// ask again with the same idempotency key.
    #[error("the command could not be stored in time; ask again with the same idempotency key")]
    Unavailable,
    /// The process is going down.
    #[error("the service is shutting down")]
    Stopping,
}

#[derive(Debug)]
pub(crate) struct Request<P: Participant> {
    input: P::Input,
    saga: Option<P::Key>,
    id: Idempotency,
    traceparent: Option<String>,
    deadline: Instant,
    answer: oneshot::Sender<Result<Answer<P>, CommandError<P::Refusal>>>,
}

impl<P: Participant> Clone for Commands<P> {
    fn clone(&self) -> Self {
        Self {
            waiting: self.waiting.clone(),
            patience: self.patience,
        }
    }
}

impl<P: Participant> Commands<P> {
    pub(crate) fn new(options: Options) -> (Self, mpsc::Receiver<Request<P>>) {
        let (waiting, requests) = mpsc::channel(options.waiting_max);
        (
            Self {
                waiting,
                patience: options.patience,
            },
            requests,
        )
    }

    /// Has a command decided and waits for the commit. `timeout` is the caller's own deadline.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn submit(
        &self,
        id: Idempotency,
        saga: Option<P::Key>,
        input: P::Input,
        timeout: Option<Duration>,
    ) -> Result<Answer<P>, CommandError<P::Refusal>> {
        let (answer, answered) = oneshot::channel();
        let deadline = Instant::now() + timeout.unwrap_or(self.patience).min(self.patience);
        let traceparent = quadrille_process::telemetry::current_traceparent();
        let method = id.method.clone();
        let request = Request {
            input,
            saga,
            id,
            traceparent,
            deadline,
            answer,
        };
        let result = match self.waiting.try_send(request) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(CommandError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(CommandError::Stopping),
            Ok(()) => match tokio::time::timeout_at(deadline, answered).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(CommandError::Stopping),
                Err(_) => Err(CommandError::Unavailable),
            },
        };
        let outcome = match &result {
            Ok(Answer { replayed: true, .. }) => "replayed",
            Ok(_) => "done",
            Err(CommandError::Refused(_)) => "refused",
            Err(CommandError::KeyReused) => "key_reused",
            Err(CommandError::Parked(_)) => "parked",
            Err(CommandError::GivenUp) => "given_up",
            Err(CommandError::Overloaded) => "overloaded",
            Err(CommandError::Unavailable) => "unavailable",
            Err(CommandError::Stopping) => "stopping",
        };
        metrics::counter!(names::COMMANDS, "participant" => P::NAME, "method" => method, "outcome" => outcome).increment(1);
        result
    }
}

/// Takes what waits, up to a batch, and decides it in one transaction; until it is told to stop and nothing
/// waits any more.
pub(crate) async fn work<P: Participant, S: Store<P>>(
    engine: Arc<Engine<P, S>>,
    pool: PgPool,
    requests: Arc<tokio::sync::Mutex<mpsc::Receiver<Request<P>>>>,
    batch_max: usize,
    stop: CancellationToken,
) {
    loop {
        let mut batch = Vec::new();
        {
            let mut requests = requests.lock().await;
            tokio::select! {
                _ = requests.recv_many(&mut batch, batch_max) => {}
                () = stop.cancelled() => {
                    // What was accepted is answered; what comes from now on is refused by the closed channel.
                    requests.close();
                    requests.recv_many(&mut batch, batch_max).await;
                }
            }
        }
        if batch.is_empty() {
            // Nobody can give commands any more, as where a participant takes none: that ends no service.
            stop.cancelled().await;
            return;
        }
        decide(&engine, &pool, batch).await;
    }
}

async fn decide<P: Participant, S: Store<P>>(engine: &Engine<P, S>, pool: &PgPool, batch: Vec<Request<P>>) {
    let mut latest = Instant::now();
    let mut entries = Vec::with_capacity(batch.len());
    let mut callers = Vec::with_capacity(batch.len());
    for request in batch {
        // Nobody listens any more: it must not be done behind the caller's back.
        if request.answer.is_closed() || request.deadline <= Instant::now() {
            continue;
        }
        latest = latest.max(request.deadline);
        entries.push(Entry {
            id: saga_core::id::of_command(&request.id.owner, &request.id.method, &request.id.key),
            what: What::Input {
                input: request.input,
                saga: request.saga,
            },
            traceparent: request.traceparent,
            origin: Origin::Command(request.id),
        });
        callers.push(Some(request.answer));
    }
    if entries.is_empty() {
        return;
    }
    let of_all = if fault::POSSIBLE {
        batch::about(&entries)
    } else {
        Vec::new()
    };
    if fault::reach(Point::CommandBeforeDecide, || of_all.clone())
        .await
        .is_err()
    {
        return;
    }
    let applied = tokio::time::timeout_at(
        latest,
        engine.apply(
            pool,
            entries,
            &mut std::collections::BTreeMap::new(),
            &CancellationToken::new(),
        ),
    )
    .await;
    let Ok(Applied::Done { replies }) = applied else {
        for caller in callers.into_iter().flatten() {
            // The caller may have gone away meanwhile.
            drop(caller.send(Err(CommandError::Unavailable)));
        }
        return;
    };
    if fault::reach(Point::CommandBeforeAnswer, || of_all).await.is_err() {
        return;
    }
    for (entry, told) in replies {
        if let Some(caller) = callers.get_mut(entry).and_then(Option::take) {
            let answer = match told {
                Told::Now(Reply::Done(reply)) => Ok(Answer {
                    reply,
                    replayed: false,
                }),
                Told::Again(reply) => Ok(Answer {
                    reply,
                    replayed: true,
                }),
                Told::Now(Reply::Refused(refusal)) => Err(CommandError::Refused(refusal)),
                Told::Now(Reply::Parked(why)) => Err(CommandError::Parked(why)),
                Told::Now(Reply::GivenUp(why)) => {
                    tracing::error!(participant = P::NAME, why, "a command was given up");
                    Err(CommandError::GivenUp)
                }
                Told::KeyReused => Err(CommandError::KeyReused),
            };
            drop(caller.send(answer));
        }
    }
    for caller in callers.into_iter().flatten() {
        drop(caller.send(Err(CommandError::Parked(
            "the participant gave no reply to this command".to_owned(),
        ))));
    }
}
