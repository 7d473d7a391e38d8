//! How a participant's state gets into its service's own tables.

use std::future::Future;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use saga_core::Participant;

/// Rows by key, each key once.
pub type Rows<K, V> = Vec<(K, V)>;

/// A saga's state that a decision changed.
#[derive(Debug)]
pub struct Saved<P: Participant> {
    /// Which saga.
    pub key: P::Key,
    /// Its new state.
    pub state: P::State,
    /// Whether it needs no more attention: what the service may prune some day.
    pub ended: bool,
}

/// A service's SQL: batches only, and the engine hands keys over sorted, each once.
///
/// Every store passes [`crate::conformance`].
pub trait Store<P: Participant>: Send + Sync + 'static {
    /// Locks the rows of `keys` until the end of the transaction and answers each key once.
    ///
    /// A saga of which nothing was heard has no row, and `select … for update` locks nothing where no row is:
    /// two workers would both find nothing, and one input would be lost. So insert default rows first
    /// (`on conflict do nothing`), sorted, then select for update in a *second* statement.
    ///
    /// A row that is pruned between the two has no answer, which is right: the engine misses it, and tries the
    /// whole transaction again. So it is with shared rows.
    fn load(
        &self,
        tx: &mut PgConnection,
        keys: &[P::Key],
    ) -> impl Future<Output = Result<Rows<P::Key, P::State>, sqlx::Error>> + Send;

    /// Locks the shared rows of `keys` and answers each key once; `None` is a row that does not exist. A row
    /// that a decision may create has to be locked as well: insert its default and answer `None` for it.
    fn load_shared(
        &self,
        tx: &mut PgConnection,
        keys: &[P::SharedKey],
    ) -> impl Future<Output = Result<Rows<P::SharedKey, Option<P::Shared>>, sqlx::Error>> + Send {
        let _ = (tx, keys);
        async { Ok(Vec::new()) }
    }

    /// Answers each of `keys` once, as [`load_shared`](Self::load_shared) does, but locks and inserts nothing: for rows
    /// that a participant `reads`. The default locks them all the same, which is right and slow.
    fn read_shared(
        &self,
        tx: &mut PgConnection,
        keys: &[P::SharedKey],
    ) -> impl Future<Output = Result<Rows<P::SharedKey, Option<P::Shared>>, sqlx::Error>> + Send {
        self.load_shared(tx, keys)
    }

    /// Writes what changed. Every key was loaded in the same transaction. `now` is the instant of the batch.
    fn save(
        &self,
        tx: &mut PgConnection,
        sagas: &[Saved<P>],
        shared: &[(P::SharedKey, P::Shared)],
        now: DateTime<Utc>,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Deletes at most `limit` sagas that ended before `before`, and says how many there were. A service that
    /// keeps its history keeps the default, which deletes nothing.
    ///
    /// What is deleted forgets its barrier: the retention has to be longer than the topics', and a saga whose key is
    /// parked stays, since its messages may still be replayed.
    fn prune(
        &self,
        tx: &mut PgConnection,
        before: DateTime<Utc>,
        limit: i64,
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send {
        let _ = (tx, before, limit);
        async { Ok(0) }
    }

    /// Deletes at most `limit` blank rows of each of its tables, and says how many there were: rows that were
    /// inserted before `before` to be locked, and that nothing was ever saved to. Commands that are refused
    /// leave such rows behind, and so do events that speak of what nobody here knows. A service whose callers
    /// choose the keys needs it; the default deletes nothing.
    fn prune_blank(
        &self,
        tx: &mut PgConnection,
        before: DateTime<Utc>,
        limit: i64,
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send {
        let _ = (tx, before, limit);
        async { Ok(0) }
    }
}
