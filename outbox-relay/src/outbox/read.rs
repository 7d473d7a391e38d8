use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::error::{Doing as _, OutboxError, within};
use super::sql;
use super::window::Window;

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) rows: u32,
    /// Of payload and headers; the event that reaches it is still read.
    pub(crate) bytes: u32,
    /// What one statement looks at apart from that.
    pub(crate) stride: u32,
    pub(crate) patience: Duration,
}

/// A piece of a window, in the order of positions.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    rows: Vec<PgRow>,
    pub(crate) bytes: usize,
}

/// One row of the outbox, borrowed from its chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'c> {
    pub(crate) position: i64,
    pub(crate) id: Uuid,
    pub(crate) topic: &'c str,
    pub(crate) key: &'c str,
    pub(crate) r#type: &'c str,
    /// `None` is a tombstone.
    pub(crate) payload: Option<&'c [u8]>,
    pub(crate) headers: &'c str,
    pub(crate) created_at: DateTime<Utc>,
}

const TOPIC: usize = 2;
/// Of an event, or of all up to it.
const BYTES: usize = 8;
const DECODING: &str = "decoding a row of the outbox";

impl Chunk {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The topic of the event at `index`.
    pub(crate) fn topic(&self, index: usize) -> Result<&str, OutboxError> {
        self.rows[index].try_get_unchecked(TOPIC).doing(DECODING)
    }

    /// The event at `index`.
    pub(crate) fn event(&self, index: usize) -> Result<Event<'_>, OutboxError> {
        event(&self.rows[index]).doing(DECODING)
    }
}

fn event(row: &PgRow) -> Result<Event<'_>, sqlx::Error> {
    // Unchecked as to the type only: the statement fixes it, and a check per column costs as much as the
    // rest of the decoding.
    Ok(Event {
        position: row.try_get_unchecked(0)?,
        id: row.try_get_unchecked(1)?,
        topic: row.try_get_unchecked(TOPIC)?,
        key: row.try_get_unchecked(3)?,
        r#type: row.try_get_unchecked(4)?,
        payload: row.try_get_unchecked(5)?,
        headers: row.try_get_unchecked(6)?,
        created_at: row.try_get_unchecked(7)?,
    })
}

/// Reads one window, from a position on, in pieces that fit into memory.
///
/// No statement is open between two pieces: the broker may take its time.
#[derive(Debug)]
pub(crate) struct Reader<'w> {
    window: &'w Window,
    budget: Budget,
    /// The position that the next piece comes after.
    after: Option<i64>,
    /// A position that a big window ends at or before. What is written while it is published is behind it.
    last: Option<i64>,
    /// An event of it is larger than its share of what is read at once.
    large: bool,
    done: bool,
}

impl<'w> Reader<'w> {
    /// From the beginning, or from after a position that was acknowledged already.
    pub(crate) fn new(window: &'w Window, after: Option<i64>, budget: Budget) -> Self {
        Self {
            window,
            budget,
            after,
            last: None,
            large: false,
            done: false,
        }
    }

    /// The window as a whole, if it is small and nothing of it was read. Then there is nothing left to be read.
    pub(crate) async fn whole_if_small(
        &mut self,
        connection: &mut PgConnection,
    ) -> Result<Option<Chunk>, OutboxError> {
        if self.after.is_some() || self.window.replay {
            return Ok(None);
        }
        let whole = self.whole(connection).await?;
        self.done = whole.is_some();
        Ok(whole.filter(|chunk| !chunk.is_empty()))
    }

    /// The next piece; `None` after the last.
    pub(crate) async fn next(&mut self, connection: &mut PgConnection) -> Result<Option<Chunk>, OutboxError> {
        if self.done {
            return Ok(None);
        }
        if self.window.replay {
            return self.next_parked(connection).await;
        }
        self.next_of_big(connection).await
    }

    /// Whether all of it was read.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// What comes from now on is read in pieces of another size.
    pub(crate) fn reads_by(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// The next piece of a big window. Each statement passes over so many rows at most: between those of the window there may
    /// be millions that were acknowledged before, or belong to a later one.
    async fn next_of_big(&mut self, connection: &mut PgConnection) -> Result<Option<Chunk>, OutboxError> {
        let last = match self.last {
            Some(last) => last,
            None => {
                let last = self.position(sqlx::query_scalar(sql::LAST_POSITION), connection);
                let last = last.await?.unwrap_or(0);
                self.last = Some(last);
                last
            }
        };
        let mut after = match self.after {
            Some(after) => after,
            None => match self.first_position(connection).await? {
                Some(first) => first - 1,
                None => last,
            },
        };
        while after < last {
            let until = last.min(after.saturating_add(self.budget.stride.into()));
            let (chunk, cut) = self.piece((after, until), connection).await?;
            if !chunk.is_empty() {
                let reached = if cut {
                    chunk.event(chunk.len() - 1)?.position
                } else {
                    until
                };
                self.after = Some(reached);
                self.done = reached >= last;
                return Ok(Some(chunk));
            }
            // Positions that nobody has are not passed over one by one.
            let next = self.position(sqlx::query_scalar(sql::NEXT_POSITION).bind(until), connection);
            after = next.await?.map_or(last, |next| next - 1);
        }
        self.done = true;
        Ok(None)
    }

    /// A piece of a big window between two positions, and whether it was cut.
    async fn piece(
        &mut self,
        between: (i64, i64),
        connection: &mut PgConnection,
    ) -> Result<(Chunk, bool), OutboxError> {
        if !self.large {
            let share = self.budget.bytes / self.budget.rows.max(1);
            let rows = self.rows_of_big(sql::pieces::READ_PIECE, between, share, connection);
            let mut rows = rows.await?;
            let full = fills(rows.len(), self.budget.rows);
            let (mut small, mut bytes) = (0, 0);
            for row in &rows {
                let size: i32 = row.try_get_unchecked(BYTES).doing(DECODING)?;
                let size = u32::try_from(size).unwrap_or(u32::MAX);
                if size > share {
                    self.large = true;
                    break;
                }
                small += 1;
                bytes += usize::try_from(size).unwrap_or(usize::MAX);
            }
            rows.truncate(small);
            // Unless the large one is the next: it can be read.
            if !self.large || small > 0 {
                return Ok((Chunk { rows, bytes }, full || self.large));
            }
        }
        let most = self.budget.bytes;
        let rows = self.rows_of_big(sql::pieces::READ_PIECE_OF_LARGE, between, most, connection);
        self.with_sums(rows.await?, self.budget.rows)
    }

    async fn rows_of_big(
        &self,
        statement: &'static str,
        (after, until): (i64, i64),
        bytes: u32,
        connection: &mut PgConnection,
    ) -> Result<Vec<PgRow>, OutboxError> {
        let query = sqlx::query(statement)
            .bind(self.window.after.as_str())
            .bind(self.window.until.as_str())
            .bind(after)
            .bind(i64::from(self.budget.rows))
            .bind(i64::from(bytes))
            .bind(until);
        let doing = "reading a piece of a window";
        within(self.budget.patience, doing, query.fetch_all(connection)).await
    }

    /// The next piece of a window of parked events, which are few enough for one index.
    async fn next_parked(&mut self, connection: &mut PgConnection) -> Result<Option<Chunk>, OutboxError> {
        let query = sqlx::query(sql::parked::READ_REPLAY)
            .bind(self.window.number)
            .bind(self.after.unwrap_or(0))
            .bind(i64::from(self.budget.rows))
            .bind(i64::from(self.budget.bytes));
        let doing = "reading parked events";
        let rows = within(self.budget.patience, doing, query.fetch_all(connection)).await?;
        let piece = self.with_sums(rows, self.budget.rows)?;
        self.go_on(piece)
    }

    /// The piece after the one before; more may follow if it was cut.
    fn go_on(&mut self, (chunk, cut): (Chunk, bool)) -> Result<Option<Chunk>, OutboxError> {
        self.done = !cut;
        if chunk.is_empty() {
            return Ok(None);
        }
        self.after = Some(chunk.event(chunk.len() - 1)?.position);
        Ok(Some(chunk))
    }

    /// The window as a whole, unless it is too big for that.
    async fn whole(&self, connection: &mut PgConnection) -> Result<Option<Chunk>, OutboxError> {
        let one_more = self.budget.rows + 1;
        let query = sqlx::query(sql::READ_SMALL)
            .bind(self.window.after.as_str())
            .bind(self.window.until.as_str())
            .bind(self.window.after.running())
            .bind(i64::from(one_more))
            .bind(i64::from(self.budget.bytes));
        let doing = "reading a window";
        let rows = within(self.budget.patience, doing, query.fetch_all(connection)).await?;
        let (chunk, cut) = self.with_sums(rows, one_more)?;
        Ok((!cut).then_some(chunk))
    }

    /// Where a big window begins, or, if that is too much to ask, where the outbox does. `None`: it is empty.
    async fn first_position(&self, connection: &mut PgConnection) -> Result<Option<i64>, OutboxError> {
        let (first, looked_at): (Option<i64>, i64) = within(
            self.budget.patience,
            "looking where a big window begins",
            sqlx::query_as(sql::FIRST_POSITION)
                .bind(self.window.after.as_str())
                .bind(self.window.until.as_str())
                .bind(self.window.after.running())
                .bind(i64::from(self.budget.stride))
                .fetch_one(&mut *connection),
        )
        .await?;
        if looked_at < i64::from(self.budget.stride) {
            return Ok(first);
        }
        self.position(sqlx::query_scalar(sql::NEXT_POSITION).bind(0_i64), connection)
            .await
    }

    async fn position<'q>(
        &self,
        query: sqlx::query::QueryScalar<'q, sqlx::Postgres, Option<i64>, sqlx::postgres::PgArguments>,
        connection: &mut PgConnection,
    ) -> Result<Option<i64>, OutboxError> {
        within(
            self.budget.patience,
            "looking for a position",
            query.fetch_one(connection),
        )
        .await
    }

    /// The rows of a statement whose last column is the bytes so far, and whether there may be more.
    fn with_sums(&self, rows: Vec<PgRow>, limit: u32) -> Result<(Chunk, bool), OutboxError> {
        let bytes: i64 = match rows.last() {
            Some(last) => last.try_get_unchecked(BYTES).doing(DECODING)?,
            None => 0,
        };
        let cut = fills(rows.len(), limit) || bytes >= i64::from(self.budget.bytes);
        let bytes = usize::try_from(bytes).unwrap_or(0);
        Ok((Chunk { rows, bytes }, cut))
    }
}

fn fills(rows: usize, limit: u32) -> bool {
    rows >= usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Who an event of a window is: id, topic, key, type. `None` if it is gone.
pub(crate) async fn who_is(
    connection: &mut PgConnection,
    window: &Window,
    position: i64,
    patience: Duration,
) -> Result<Option<(Uuid, String, String, String)>, OutboxError> {
    let query = if window.replay {
        sqlx::query_as(sql::parked::REPLAYED_EVENT).bind(window.number)
    } else {
        sqlx::query_as(sql::EVENT)
    };
    within(
        patience,
        "looking up an event",
        query.bind(position).fetch_optional(connection),
    )
    .await
}
