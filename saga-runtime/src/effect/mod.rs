//! Effects are performed here: after the commit that decided them, outside of any transaction, at least once,
//! with the effect's id as the idempotency key.

mod executor;
/// How long before a call is made again.
mod wait;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use saga_core::{Effect, RetryPolicy};
use uuid::Uuid;

pub(crate) use executor::{Executor, STATEMENTS, run};

/// Performs effects of one kind. The answer is whatever the other side definitely said, yes or no; anything
/// else is a [`Failure`] and is tried again.
///
/// The future is dropped when the policy's `call_timeout` is over: then nobody knows whether it was done.
pub trait Perform<E: Effect>: Send + Sync + 'static {
    /// One call.
    ///
    /// # Errors
    /// [`Failure`] if there was no definite answer.
    fn perform(&self, call: Call<E>) -> impl Future<Output = Result<E::Answer, Failure>> + Send;
}

/// One call of an effect.
#[derive(Clone, Debug)]
pub struct Call<E> {
    /// Its id: the idempotency key, the same for each attempt.
    pub id: Uuid,
    /// What to do.
    pub effect: E,
    /// Which call this is, from 1.
    pub attempt: u32,
    /// The first call is so long ago that the other side may have forgotten the key, or an operator has asked
    /// for a replay: ask what became of it before doing it again.
    pub ask_first: bool,
}

/// A call without a definite answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub struct Failure {
    /// For people; no secrets.
    pub why: String,
    /// How long the other side wants to be left alone: no call is made earlier, unless that is more than an hour. The
    /// policy's own waits apply all the same.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that the policy's waits apply to.
    pub fn new(why: impl fmt::Display) -> Self {
        Self {
            why: why.to_string(),
            retry_after: None,
        }
    }
}

/// How effects are executed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Calls at the same time.
    pub concurrency: usize,
    /// How long after a call's own timeout its claim is left alone, for its answer to be written.
    pub lease_margin: Duration,
    /// How long the executor sleeps when nothing rings: no retry is later than this.
    pub poll: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 64,
            lease_margin: Duration::from_secs(5),
            poll: Duration::from_millis(200),
        }
    }
}

/// The performers of a participant, by kind of effect.
#[derive(Clone, Default)]
pub(crate) struct Performers(BTreeMap<&'static str, Performer>);

#[derive(Clone)]
pub(crate) struct Performer {
    pub(crate) policy: RetryPolicy,
    perform: Arc<PerformFn>,
}

type PerformFn =
    dyn Fn(RawCall) -> Pin<Box<dyn Future<Output = Result<serde_json::Value, Failure>> + Send>> + Send + Sync;

/// A call whose effect is still encoded.
pub(crate) struct RawCall {
    pub(crate) id: Uuid,
    pub(crate) payload: Vec<u8>,
    pub(crate) attempt: u32,
    pub(crate) ask_first: bool,
}

impl Performers {
    pub(crate) fn add<E: Effect>(&mut self, performer: impl Perform<E>, policy: RetryPolicy) {
        let performer = Arc::new(performer);
        let perform = move |raw: RawCall| {
            let performer = Arc::clone(&performer);
            let future: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
                let effect: E = saga_core::effect::decode(&raw.payload).map_err(|error| {
                    Failure::new(format!("the effect was written by another build: {error}"))
                })?;
                let call = Call {
                    id: raw.id,
                    effect,
                    attempt: raw.attempt,
                    ask_first: raw.ask_first,
                };
                let answer = performer.perform(call).await?;
                serde_json::to_value(&answer)
                    .map_err(|error| Failure::new(format!("the answer cannot be encoded: {error}")))
            });
            future
        };
        self.0.insert(
            E::KIND,
            Performer {
                policy,
                perform: Arc::new(perform),
            },
        );
    }

    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }

    pub(crate) fn get(&self, kind: &str) -> Option<&Performer> {
        self.0.get(kind)
    }

    /// The longest that any call may take.
    pub(crate) fn call_timeout_max(&self) -> Duration {
        self.0
            .values()
            .map(|performer| performer.policy.call_timeout)
            .max()
            .unwrap_or_default()
    }
}

impl Performer {
    pub(crate) fn call(
        &self,
        call: RawCall,
    ) -> impl Future<Output = Result<serde_json::Value, Failure>> + Send + use<> {
        (self.perform)(call)
    }
}

impl fmt::Debug for Performers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
