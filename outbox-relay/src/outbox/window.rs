use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::error::{OutboxError, within};
use super::lease::{Lease, Standing};
use super::snapshot::Snapshot;
use super::sql;
use crate::parked::Subject;

/// What snapshot `after` does not see and snapshot `until` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) number: i64,
    pub(crate) epoch: u32,
    pub(crate) after: Snapshot,
    pub(crate) until: Snapshot,
    /// It takes up what was left over from the epoch before.
    pub(crate) recovery: bool,
    /// It sends parked events again, and takes up nothing new.
    pub(crate) replay: bool,
}

/// Opens windows, each from where the one before ended.
#[derive(Debug)]
pub(crate) struct Windows {
    lease: Lease,
    last: i64,
    seen: Snapshot,
    recovering: bool,
    patience: Duration,
}

type WindowRow = (i64, i64, String, String, bool, bool);

impl Windows {
    /// The windows that were opened and not acknowledged, in order, and what opens the next ones.
    pub(crate) async fn resume(
        lease: Lease,
        standing: &Standing,
        connection: &mut PgConnection,
        patience: Duration,
    ) -> Result<(Vec<Window>, Windows), OutboxError> {
        let rows: Vec<WindowRow> = within(
            patience,
            "reading the windows that were not acknowledged",
            sqlx::query_as(sql::UNACKED)
                .bind(lease.source.as_str())
                .bind(standing.acked.window)
                .fetch_all(connection),
        )
        .await?;
        let unacked = rows.into_iter().map(window).collect::<Result<Vec<_>, _>>()?;
        let windows = Windows {
            lease,
            last: unacked
                .last()
                .map_or(standing.acked.window, |window| window.number),
            seen: unacked
                .last()
                .map_or_else(|| standing.acked.snapshot.clone(), |window| window.until.clone()),
            recovering: standing.recovering && unacked.is_empty(),
            patience,
        };
        Ok((unacked, windows))
    }

    /// The last window that was opened, by us or by an owner before us.
    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    /// Commits the bounds of the next window. `None`: there is nothing to publish, or the lease is lost,
    /// which its renewal will tell.
    pub(crate) async fn open(
        &mut self,
        connection: &mut PgConnection,
    ) -> Result<Option<Window>, OutboxError> {
        let row: Option<WindowRow> = within(
            self.patience,
            "opening a window",
            sqlx::query_as(sql::OPEN)
                .bind(self.lease.source.as_str())
                .bind(self.lease.fence)
                .bind(self.last)
                .bind(self.seen.as_str())
                .bind(self.seen.running())
                .bind(self.recovering)
                .fetch_optional(connection),
        )
        .await?;
        let Some(opened) = row.map(window).transpose()? else {
            return Ok(None);
        };
        self.last = opened.number;
        self.seen = opened.until.clone();
        self.recovering = false;
        Ok(Some(opened))
    }

    /// Whether there is something to publish.
    pub(crate) async fn is_due(&self, connection: &mut PgConnection) -> Result<bool, OutboxError> {
        within(
            self.patience,
            "looking for events",
            sqlx::query_scalar(sql::IS_DUE)
                .bind(self.seen.as_str())
                .bind(self.seen.running())
                .fetch_one(connection),
        )
        .await
    }

    /// When the oldest event came to be that was not acknowledged before `acked`, if there is one.
    pub(crate) async fn oldest_waiting(
        &self,
        connection: &mut PgConnection,
        acked: &Snapshot,
    ) -> Result<Option<DateTime<Utc>>, OutboxError> {
        within(
            self.patience,
            "looking for the oldest event",
            sqlx::query_scalar(sql::OLDEST_WAITING)
                .bind(acked.as_str())
                .fetch_optional(connection),
        )
        .await
    }

    /// What is to be sent again: somebody wants it to be, or it is a parked topic whose time has come. And whether there is
    /// any of it.
    pub(crate) async fn due_replay(
        &self,
        connection: &mut PgConnection,
        again_after: Duration,
    ) -> Result<Option<(Subject, bool)>, OutboxError> {
        let row: Option<(String, Option<String>, bool)> = within(
            self.patience,
            "looking whether a replay is due",
            sqlx::query_as(sql::parked::DUE)
                .bind(millis(again_after))
                .fetch_optional(connection),
        )
        .await?;
        Ok(row.map(|(topic, key, waits)| (Subject { topic, key }, waits)))
    }

    /// Commits the bounds of a window for the first `most` events of a parked subject. `None`: it is not parked any more, or
    /// the lease is lost.
    pub(crate) async fn open_replay(
        &mut self,
        connection: &mut PgConnection,
        subject: &Subject,
        most: u32,
    ) -> Result<Option<Window>, OutboxError> {
        let row: Option<WindowRow> = within(
            self.patience,
            "opening a replay",
            sqlx::query_as(sql::parked::OPEN_REPLAY)
                .bind(self.lease.source.as_str())
                .bind(self.lease.fence)
                .bind(self.last)
                .bind(self.seen.as_str())
                .bind(&subject.topic)
                .bind(subject.key.as_deref().unwrap_or(""))
                .bind(subject.key.is_none())
                .bind(i64::from(most))
                .fetch_optional(connection),
        )
        .await?;
        let opened = row.map(window).transpose()?;
        if let Some(opened) = &opened {
            self.last = opened.number;
        }
        Ok(opened)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn window((number, epoch, after, until, recovery, replay): WindowRow) -> Result<Window, OutboxError> {
    Ok(Window {
        number,
        epoch: u32::try_from(epoch).map_err(|_| OutboxError::Corrupt {
            column: "saga.relay_window.epoch",
            found: epoch.to_string(),
        })?,
        after: Snapshot::new(after),
        until: Snapshot::new(until),
        recovery,
        replay,
    })
}
