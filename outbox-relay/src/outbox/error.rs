use std::time::Duration;

use quadrille_process::fault::Injected;
use saga_core::position::Position;

/// Why the outbox cannot be served right now. All of them are retried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The database refused a statement, or the connection broke.
    #[error("{doing}")]
    Database {
        /// What the relay was doing.
        doing: &'static str,
        /// The database's answer.
        #[source]
        source: sqlx::Error,
    },
    /// The database did not answer in time.
    #[error("{doing}: no answer within {} ms", .after.as_millis())]
    TimedOut {
        /// What the relay was doing.
        doing: &'static str,
        /// How long it waited.
        after: Duration,
    },
    /// None of several servers takes writes.
    #[error("no server that takes writes among {hosts}")]
    NoPrimary {
        /// Who was asked.
        hosts: String,
        /// What the last of them said that is no standby, if there is one.
        #[source]
        source: Box<OutboxError>,
    },
    /// The server is a standby, whose snapshots show no running transactions: events would be lost.
    #[error("the server is a standby; the relay reads from a primary only")]
    Standby,
    /// A pooler in between gives each transaction another session.
    #[error(
        "a pooler gives each transaction another session; let it keep them (PgBouncer: pool_mode = session), or let the \
         relay reach the server past it"
    )]
    SharedSession,
    /// The relay's tables are not there, or those of an older version.
    #[error(
        "the database lacks tables of the relay, or has those of an older version; run `outbox-relay migrate` as the \
         migrating role"
    )]
    NotMigrated,
    /// The outbox is served under another name, which is part of every position that consumers remember.
    #[error("this outbox is known as '{known_as}', not as '{source_name}'")]
    OtherName {
        /// The name in our configuration.
        source_name: String,
        /// The name in the database.
        known_as: String,
    },
    /// Another relay has drawn a newer fence number.
    #[error("the lease with fence {fence} is lost")]
    LeaseLost {
        /// Ours.
        fence: i64,
    },
    /// The broker holds events that the database does not know any more.
    #[error(
        "the broker holds events of this outbox up to {published}, and the database knows of none behind {known}: it was \
         restored from an older copy"
    )]
    WentBack {
        /// The highest position that was found in the topics.
        published: Position,
        /// The last window that the database knows.
        known: Position,
    },
    /// A test wants it so.
    #[error(transparent)]
    Injected(#[from] Injected),
    /// A column holds what the relay never writes.
    #[error("{column} is {found}, which the relay never writes")]
    Corrupt {
        /// Which column.
        column: &'static str,
        /// What it holds.
        found: String,
    },
}

/// Says what we were doing when the database failed.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, OutboxError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, OutboxError> {
        self.map_err(|source| OutboxError::Database { doing, source })
    }
}

/// A bound on what the server's own statement timeout cannot see: a peer that is gone without a word.
pub(crate) async fn within<T>(
    after: Duration,
    doing: &'static str,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, OutboxError> {
    match tokio::time::timeout(after, work).await {
        Ok(answer) => answer.doing(doing),
        Err(_) => Err(OutboxError::TimedOut { doing, after }),
    }
}
