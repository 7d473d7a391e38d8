use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::error::{Doing as _, OutboxError};
use super::lease::Lease;
use super::sql::{self, Leaf};
use crate::fault::{self, Point};

const DOING: &str = "emptying a leaf";

/// What a round has done.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// The names of the leaves that were emptied.
    pub(crate) emptied: Vec<&'static str>,
    /// Whether there is something in another one.
    pub(crate) left: bool,
}

impl Round {
    /// How many of them were the outbox's. Leaves of windows say nothing of who holds those: a long query on
    /// `saga.outbox` does not touch them.
    pub(crate) fn of_the_outbox(&self) -> usize {
        let leaves = &sql::OUTBOX_LEAVES;
        self.emptied
            .iter()
            .filter(|&&name| leaves.iter().any(|leaf| leaf.name == name))
            .count()
    }
}

/// What became of a leaf.
enum Became {
    WasEmpty,
    Emptied,
    Kept,
}

/// Truncates each leaf in which everything was acknowledged.
pub(crate) async fn rotate(
    connection: &mut PgConnection,
    lease: &Lease,
    owner: &str,
) -> Result<Round, OutboxError> {
    let mut round = Round::default();
    for leaves in [&sql::OUTBOX_LEAVES, &sql::WINDOW_LEAVES] {
        for (slot, leaf) in (0i16..).zip(leaves) {
            match empty(connection, lease, owner, slot, leaf).await? {
                Became::WasEmpty => {}
                Became::Emptied => round.emptied.push(leaf.name),
                Became::Kept => round.left = true,
            }
        }
    }
    Ok(round)
}

async fn empty(
    connection: &mut PgConnection,
    lease: &Lease,
    owner: &str,
    slot: i16,
    leaf: &Leaf,
) -> Result<Became, OutboxError> {
    let in_use: bool = sqlx::query_scalar(leaf.in_use)
        .fetch_one(&mut *connection)
        .await
        .doing(DOING)?;
    if !in_use {
        return Ok(Became::WasEmpty);
    }
    // Asked without the lock first, since the lock makes writers wait.
    if !spent(connection, lease, slot, leaf).await? {
        return Ok(Became::Kept);
    }
    fault::point(Point::RelayBeforeRotate, owner, lease.source.as_str()).await?;
    // READ COMMITTED, whatever the database's default is: the condition must see what was committed
    // while we waited for the lock.
    let mut transaction = connection
        .begin_with("begin isolation level read committed")
        .await
        .doing(DOING)?;
    sqlx::query(sql::LOCK_BRIEFLY)
        .execute(&mut *transaction)
        .await
        .doing(DOING)?;
    if let Err(error) = sqlx::query(leaf.lock).execute(&mut *transaction).await {
        transaction.rollback().await.doing(DOING)?;
        return if is_lock_timeout(&error) {
            tracing::debug!(leaf = leaf.name, "leaf is in use; it is emptied another time");
            Ok(Became::Kept)
        } else {
            Err(OutboxError::Database {
                doing: DOING,
                source: error,
            })
        };
    }
    if !spent(&mut transaction, lease, slot, leaf).await? {
        transaction.rollback().await.doing(DOING)?;
        return Ok(Became::Kept);
    }
    sqlx::query(leaf.truncate)
        .execute(&mut *transaction)
        .await
        .doing(DOING)?;
    transaction.commit().await.doing(DOING)?;
    fault::point(Point::RelayAfterRotate, owner, lease.source.as_str()).await?;
    Ok(Became::Emptied)
}

async fn spent(
    connection: &mut PgConnection,
    lease: &Lease,
    slot: i16,
    leaf: &Leaf,
) -> Result<bool, OutboxError> {
    sqlx::query_scalar(leaf.spent)
        .bind(lease.source.as_str())
        .bind(slot)
        .bind(lease.fence)
        .fetch_one(connection)
        .await
        .doing(DOING)
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_of_windows_are_not_counted_as_the_outboxs() {
        let (outbox, windows) = (&sql::OUTBOX_LEAVES, &sql::WINDOW_LEAVES);
        let emptied = vec![outbox[0].name, windows[0].name, outbox[3].name, windows[1].name];
        let round = Round { emptied, left: false };
        assert_eq!(round.of_the_outbox(), 2);
    }
}
