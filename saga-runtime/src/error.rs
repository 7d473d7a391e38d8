//! What can go wrong in the shell, and the one function that says what to do then.

use std::any::Any;
use std::time::Duration;

/// A transaction of the engine that did not commit.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused or was not there.
    #[error("{participant}: cannot {doing}")]
    Database {
        /// Whose transaction.
        participant: &'static str,
        /// What it was doing.
        doing: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// The transaction could not be begun or committed, which is about none of its entries.
    #[error("{participant}: cannot {doing}")]
    Transaction {
        /// Whose transaction.
        participant: &'static str,
        /// `begin a transaction` or `commit`.
        doing: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// Rows that the store inserted or found were gone when it locked them.
    #[error("{participant}: {missing} of {wanted} rows were pruned while they were being locked")]
    PrunedMeanwhile {
        /// Whose rows.
        participant: &'static str,
        /// How many the store did not answer.
        missing: usize,
        /// Of how many that it was asked for.
        wanted: usize,
    },
    /// Somebody else has moved the offset: this process does not own the partition any more.
    #[error("{consumer}: another process has read on in one of {partitions} partitions")]
    NotOwner {
        /// Consumer group.
        consumer: String,
        /// How many partitions the batch came from.
        partitions: usize,
    },
    /// A decision puts out an effect while the saga's last one has not been answered.
    #[error("{participant}: saga {saga} has an effect outstanding, and {kind} would be a second one")]
    EffectOutstanding {
        /// Whose decision.
        participant: &'static str,
        /// Which saga, if it is known which of the batch.
        saga: String,
        /// Kind of the second effect.
        kind: &'static str,
    },
    /// A test wants it so.
    #[error(transparent)]
    Injected(#[from] quadrille_process::fault::Injected),
    /// A reply that was stored cannot be read by this build.
    #[error("{participant}: the stored reply of {method} cannot be read; it was written by another build")]
    StoredReply {
        /// Whose reply.
        participant: &'static str,
        /// Of which method.
        method: String,
        /// What the JSON reader said.
        #[source]
        source: serde_json::Error,
    },
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes: wait and do the same again.
    Retry,
    /// It is about one entry of the batch: roll back, go one by one, and park the culprit.
    Isolate,
    /// Read the offset again and begin there.
    Reload,
}

impl Error {
    /// The one place that decides between retrying, parking and giving up.
    pub fn verdict(&self) -> Verdict {
        match self {
            Error::Database { source, .. } if is_transient(source) => Verdict::Retry,
            // A constraint that is checked at the commit is about an entry all the same.
            Error::Transaction { source, .. } if !is_about_data(source) => Verdict::Retry,
            // They are inserted anew.
            Error::PrunedMeanwhile { .. } => Verdict::Retry,
            // As if the connection had broken.
            Error::Injected(_) => Verdict::Retry,
            Error::Database { .. }
            | Error::Transaction { .. }
            | Error::EffectOutstanding { .. }
            | Error::StoredReply { .. } => Verdict::Isolate,
            Error::NotOwner { .. } => Verdict::Reload,
        }
    }

    /// Whether it passes only when somebody mends the database, or takes this build back.
    pub(crate) fn needs_somebody(&self) -> bool {
        match self {
            Error::Database { source, .. } | Error::Transaction { source, .. } => needs_somebody(source),
            _ => false,
        }
    }

    /// The whole chain on one line, for a log or for the reason of a parked key.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// Whether the same statement may succeed later without anything being mended in the message.
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::BeginFailed
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_transient_state(&code)),
        _ => false,
    }
}

/// Whether the database waits for a person: every message would be refused, whatever it is.
pub(crate) fn needs_somebody(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().is_some_and(|code| is_set_up_wrong(&code)))
}

/// Whether a commit was refused for what was written: integrity (23), or a trigger's own words (P0).
fn is_about_data(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref().and_then(|code| code.get(..2)), Some("23" | "P0"))
}

/// SQLSTATE classes: connection (08), rollback (40), resources (53), operator (57), system (58), a lock
/// that was not to be had (55P03), and [what is set up wrong](is_set_up_wrong).
fn is_transient_state(code: &str) -> bool {
    matches!(code.get(..2), Some("08" | "40" | "53" | "57" | "58"))
        || code == "55P03"
        || is_set_up_wrong(code)
}

/// Tables, columns, functions or rights that are missing (42, 3F), statements that the server does not know or allow (26,
/// 0A: behind a pooler, or after a migration), transactions that it does not (25: a primary that was, and only reads), a
/// role or a database that is gone (28, 3D). They are an operator's to mend: parking every key of a partition because of
/// a column that is missing would help nobody.
fn is_set_up_wrong(code: &str) -> bool {
    matches!(
        code.get(..2),
        Some("42" | "26" | "0A" | "3F" | "25" | "28" | "3D")
    )
}

/// What a panic said.
pub(crate) fn panic_words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// Waits between tries of the same thing, doubling with jitter up to a bound. Built on the `backoff` crate,
/// whose defaults would give up after fifteen minutes: the engine gives up only where its caller says so.
#[derive(Debug)]
pub struct Backoff(backoff::ExponentialBackoff);

impl Backoff {
    /// From `initial` up to `max`.
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self(backoff::ExponentialBackoff {
            current_interval: initial,
            initial_interval: initial,
            max_interval: max,
            multiplier: 2.0,
            randomization_factor: 0.5,
            max_elapsed_time: None,
            ..backoff::ExponentialBackoff::default()
        })
    }

    /// For a database or broker that is away: 50 ms to 5 s.
    pub fn of_infrastructure() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(5))
    }

    /// How long to wait now.
    pub fn next_wait(&mut self) -> Duration {
        use backoff::backoff::Backoff as _;
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// It went well: the next failure starts from the beginning.
    pub fn reset(&mut self) {
        use backoff::backoff::Backoff as _;
        self.0.reset();
    }
}

/// `wait` with jitter of a half to either side, for waits that a policy's attempt number determines.
pub(crate) fn jittered(wait: Duration) -> Duration {
    Backoff::new(wait, wait).next_wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_bound_and_never_end() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(100));
        for _ in 0..1000 {
            assert!(backoff.next_wait() <= Duration::from_millis(150));
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(15));
    }

    #[test]
    fn a_lost_connection_is_retried_and_a_broken_constraint_is_not() {
        assert!(is_transient_state("40P01"));
        assert!(is_transient_state("57P01"));
        assert!(is_transient_state("55P03"));
        assert!(!is_transient_state("23505"));
        assert!(!is_transient_state("22001"));
    }

    #[test]
    fn what_is_set_up_wrong_is_no_messages_fault() {
        for code in [
            "42703", "42883", "42P01", "42501", "0A000", "26000", "3F000", "25006", "28P01", "3D000",
        ] {
            assert!(is_transient_state(code) && is_set_up_wrong(code), "{code}");
        }
        assert!(!is_set_up_wrong("57P01"));
        assert!(is_transient(&sqlx::Error::BeginFailed));
        let commit = Error::Transaction {
            participant: "p",
            doing: "commit",
            source: sqlx::Error::RowNotFound,
        };
        assert_eq!(commit.verdict(), Verdict::Retry);
    }
}
