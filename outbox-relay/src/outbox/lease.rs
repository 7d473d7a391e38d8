use std::time::{Duration, Instant};

use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::{Connection as _, Postgres};

use super::error::{OutboxError, within};
use super::identity::Identity;
use super::snapshot::Snapshot;
use super::sql;
use crate::options::SourceName;

/// The right to publish an outbox: a fence number, drawn on acquisition, checked by each write.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) source: SourceName,
    pub(crate) fence: i64,
    pub(crate) duration: Duration,
}

/// Where the owner before us left off.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) epoch: u32,
    pub(crate) identity: Identity,
    pub(crate) acked: Acked,
    /// The first window of this epoch was not acknowledged yet.
    pub(crate) recovering: bool,
}

/// What the broker has acknowledged, contiguous from the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acked {
    pub(crate) window: i64,
    pub(crate) snapshot: Snapshot,
    /// The highest position in any acknowledged window.
    pub(crate) highest: i64,
    /// How far into which window that is still being published; (0, 0) at first.
    pub(crate) partial: (i64, i64),
}

/// Somebody else's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) owner: String,
    pub(crate) remaining: Duration,
}

/// Makes the outbox's row if this is the first relay ever, and checks its name.
pub(crate) async fn introduce(
    connection: &mut PgConnection,
    source: &SourceName,
    identity: Identity,
    patience: Duration,
) -> Result<(), OutboxError> {
    let inserted = within(
        patience,
        "introducing the relay to the outbox",
        sqlx::query(sql::INTRODUCE)
            .bind(source.as_str())
            .bind(identity.system_identifier)
            .bind(identity.timeline)
            .execute(&mut *connection),
    )
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(());
    }
    let known_as: String = within(
        patience,
        "reading the outbox's name",
        sqlx::query_scalar(sql::KNOWN_AS).fetch_one(&mut *connection),
    )
    .await?;
    if known_as == source.as_str() {
        Ok(())
    } else {
        Err(OutboxError::OtherName {
            source_name: source.to_string(),
            known_as,
        })
    }
}

/// Takes the lease if it is free, or if it is still the one that we held as `former`: a relay that lost
/// its connection need not wait for itself.
pub(crate) async fn acquire(
    connection: &mut PgConnection,
    source: &SourceName,
    owner: &str,
    duration: Duration,
    former: Option<i64>,
    patience: Duration,
) -> Result<Result<Lease, Holder>, OutboxError> {
    let fence: Option<i64> = within(
        patience,
        "acquiring the lease",
        sqlx::query_scalar(sql::ACQUIRE)
            .bind(source.as_str())
            .bind(owner)
            .bind(millis(duration))
            .bind(former)
            .fetch_optional(&mut *connection),
    )
    .await?;
    if let Some(fence) = fence {
        return Ok(Ok(Lease {
            source: source.clone(),
            fence,
            duration,
        }));
    }
    Ok(Err(holder(connection, source, patience).await?))
}

/// Who holds the lease; nobody has no name and no time left.
pub(crate) async fn holder(
    connection: &mut PgConnection,
    source: &SourceName,
    patience: Duration,
) -> Result<Holder, OutboxError> {
    let holder: Option<(Option<String>, i64)> = within(
        patience,
        "looking who holds the lease",
        sqlx::query_as(sql::HOLDER)
            .bind(source.as_str())
            .fetch_optional(&mut *connection),
    )
    .await?;
    let (owner, remaining_ms) = holder.unwrap_or_default();
    Ok(Holder {
        owner: owner.unwrap_or_default(),
        remaining: Duration::from_millis(u64::try_from(remaining_ms).unwrap_or(0)),
    })
}

type StandingRow = (i64, i64, i64, i64, String, i64, bool, i64, i64);

impl Lease {
    /// A statement whose first two parameters say whose write it is.
    pub(super) fn fenced(&self, sql: &'static str) -> Query<'_, Postgres, PgArguments> {
        sqlx::query(sql).bind(self.source.as_str()).bind(self.fence)
    }

    /// Where the owner before us left off.
    pub(crate) async fn standing(
        &self,
        connection: &mut PgConnection,
        patience: Duration,
    ) -> Result<Standing, OutboxError> {
        let row: Option<StandingRow> = within(
            patience,
            "reading what was acknowledged",
            sqlx::query_as(sql::LEASED)
                .bind(self.source.as_str())
                .bind(self.fence)
                .fetch_optional(connection),
        )
        .await?;
        let (epoch, system_identifier, timeline, window, snapshot, highest, recovering, win, position) =
            row.ok_or(OutboxError::LeaseLost { fence: self.fence })?;
        Ok(Standing {
            epoch: u32::try_from(epoch).map_err(|_| OutboxError::Corrupt {
                column: "saga.relay.epoch",
                found: epoch.to_string(),
            })?,
            identity: Identity {
                system_identifier,
                timeline,
            },
            acked: Acked {
                window,
                snapshot: Snapshot::new(snapshot),
                highest,
                partial: (win, position),
            },
            recovering,
        })
    }

    /// Begins a new epoch after a promotion, or on a copy of the server: the rows are those of this history. Returns how many
    /// events were left over from the one before, up to 100,001. `None`: the rows are of another history, see
    /// [`recover`](Self::recover).
    pub(crate) async fn resume(
        &self,
        connection: &mut PgConnection,
        identity: Identity,
        patience: Duration,
    ) -> Result<Option<i64>, OutboxError> {
        let left_over: Option<i64> = within(
            patience,
            "beginning a new epoch",
            sqlx::query_scalar(sql::RESUME)
                .bind(self.source.as_str())
                .bind(self.fence)
                .bind(identity.system_identifier)
                .bind(identity.timeline)
                .fetch_one(connection),
        )
        .await?;
        let left_over = left_over.ok_or(OutboxError::LeaseLost { fence: self.fence })?;
        Ok((left_over >= 0).then_some(left_over))
    }

    /// Begins a new epoch on a server whose history is another one, as a dump's is: every row is written, which may take
    /// longer than any other statement. Nobody can take the lease meanwhile, since its row is locked; it is given back as
    /// good as new. Returns how many events were left over from the epoch before, and since when the lease runs.
    pub(crate) async fn recover(
        &self,
        connection: &mut PgConnection,
        identity: Identity,
        patience: Duration,
    ) -> Result<(i64, Instant), OutboxError> {
        let recovering = async {
            let mut transaction = connection
                .begin_with("begin isolation level read committed")
                .await?;
            sqlx::query(sql::TAKE_TIME)
                .bind(patience.as_millis().to_string())
                .execute(&mut *transaction)
                .await?;
            let left_over: Option<i64> = sqlx::query_scalar(sql::RECOVER)
                .bind(self.source.as_str())
                .bind(self.fence)
                .bind(identity.system_identifier)
                .bind(identity.timeline)
                .fetch_one(&mut *transaction)
                .await?;
            let before = Instant::now();
            self.fenced(sql::KEEP)
                .bind(millis(self.duration))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(left_over.map(|left_over| (left_over, before)))
        };
        let recovered = within(patience, "recovering after a restore", recovering).await?;
        recovered.ok_or(OutboxError::LeaseLost { fence: self.fence })
    }

    /// Keeps the lease for another while, and remembers what was acknowledged.
    pub(crate) async fn renew(
        &self,
        connection: &mut PgConnection,
        acked: &Acked,
        patience: Duration,
    ) -> Result<(), OutboxError> {
        let renewed = within(
            patience,
            "renewing the lease",
            self.fenced(sql::RENEW)
                .bind(millis(self.duration))
                .bind(acked.window)
                .bind(acked.snapshot.as_str())
                .bind(acked.highest)
                .bind(acked.partial.0)
                .bind(acked.partial.1)
                .execute(connection),
        )
        .await?;
        if renewed.rows_affected() == 1 {
            Ok(())
        } else {
            Err(OutboxError::LeaseLost { fence: self.fence })
        }
    }

    /// Gives the lease back, so that the next owner need not wait.
    pub(crate) async fn release(
        &self,
        connection: &mut PgConnection,
        patience: Duration,
    ) -> Result<(), OutboxError> {
        within(
            patience,
            "releasing the lease",
            self.fenced(sql::RELEASE).execute(connection),
        )
        .await?;
        Ok(())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
