//! A store for whoever has no wishes about columns: each state is one JSON document.
//!
//! ```sql
//! create table stay (
//!     key      text        primary key,
//!     state    jsonb,                               -- null: locked before anything was heard of it
//!     asked_at timestamptz not null default now(),
//!     ended_at timestamptz
//! ) with (fillfactor = 70);
//! create index stay_ended on stay (ended_at) where ended_at is not null;
//! create index stay_blank on stay (asked_at) where state is null;
//!
//! create table house (key text primary key, state jsonb, asked_at timestamptz not null default now());
//!
//! -- If the service works as a role of its own.
//! select saga.grant_to('', 'select, insert, update, delete on stay, house');
//! ```
//!
//! A state that is written as a document is a contract with the build of tomorrow, as an event is: give a new field a
//! `#[serde(default)]`. Who wants to query columns, or to have the database check them, writes a [`Store`] instead.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use saga_core::Participant;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::store::{Rows, Saved, Store};

/// Two tables of JSON documents: one for sagas, and one for shared rows if there are any.
pub struct Documents<P> {
    sagas: Table,
    shared: Option<Table>,
    of: PhantomData<fn() -> P>,
}

/// The statements for one table.
#[derive(Clone, Debug)]
struct Table {
    insert: String,
    lock: String,
    read: String,
    save: String,
    prune: String,
    prune_blank: String,
}

impl Table {
    /// # Panics
    /// If the name is not one that needs no quotes: it becomes a part of statements.
    fn named(name: &'static str, ends: bool) -> Self {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.';
        assert!(
            name.bytes().all(plain) && name.starts_with(|c: char| c.is_ascii_lowercase()),
            "'{name}' is no name of a table; expected a-z, 0-9, '_' and '.'"
        );
        let ended = match ends {
            true => ", ended_at = case when s.ended then coalesce(d.ended_at, $4) end",
            false => "",
        };
        // `for update` locks nothing where no row is, so default rows come first. They are sorted, as everybody's are.
        Self {
            insert: format!(
                "insert into {name} (key) select key from unnest($1::text[]) as k (key) order by key on conflict do nothing"
            ),
            lock: format!("select key, state from {name} where key = any($1::text[]) order by key for update"),
            read: format!("select key, state from {name} where key = any($1::text[])"),
            save: format!(
                "update {name} d set state = s.state{ended}
                   from unnest($1::text[], $2::jsonb[], $3::bool[]) as s (key, state, ended) where d.key = s.key"
            ),
            // What is parked may still be replayed, and then the barrier has to be there.
            prune: format!(
                "delete from {name} where key in (
                     select d.key from {name} d
                      where d.ended_at < $1
                        and (select count(*) from saga.parked_key k where k.participant = $3 and k.key = d.key) = 0
                      order by d.ended_at limit $2 for update of d skip locked)"
            ),
            prune_blank: format!(
                "delete from {name} where key in (
                     select key from {name} where state is null and asked_at < $1
                      order by asked_at limit $2 for update skip locked)"
            ),
        }
    }

    async fn load<K, V>(&self, tx: &mut PgConnection, keys: &[K]) -> Result<Rows<K, Option<V>>, sqlx::Error>
    where
        K: fmt::Display + FromStr,
        V: DeserializeOwned + Send + Unpin + 'static,
    {
        let keys = texts(keys);
        sqlx::query(AssertSqlSafe(self.insert.clone()))
            .bind(&keys)
            .execute(&mut *tx)
            .await?;
        let rows = sqlx::query_as(AssertSqlSafe(self.lock.clone())).bind(keys);
        read(rows.fetch_all(tx).await?)
    }

    async fn save<V: Serialize + Sync>(
        &self,
        tx: &mut PgConnection,
        rows: &[(String, &V, bool)],
        now: Option<DateTime<Utc>>,
    ) -> Result<(), sqlx::Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let keys: Vec<&str> = rows.iter().map(|(key, ..)| key.as_str()).collect();
        let states: Vec<Json<&V>> = rows.iter().map(|(_, state, _)| Json(*state)).collect();
        let ended: Vec<bool> = rows.iter().map(|(.., ended)| *ended).collect();
        let save = sqlx::query(AssertSqlSafe(self.save.clone()))
            .bind(keys)
            .bind(states)
            .bind(ended);
        match now {
            Some(now) => save.bind(now).execute(tx).await?,
            None => save.execute(tx).await?,
        };
        Ok(())
    }
}

impl<P> Documents<P> {
    /// Sagas in this table, whose form the module shows.
    ///
    /// # Panics
    /// If the name is none of a table that needs no quotes.
    pub fn new(table: &'static str) -> Self {
        Self {
            sagas: Table::named(table, true),
            shared: None,
            of: PhantomData,
        }
    }

    /// And shared rows in this one.
    ///
    /// # Panics
    /// If the name is none of a table that needs no quotes.
    #[must_use]
    pub fn shared(self, table: &'static str) -> Self {
        Self {
            shared: Some(Table::named(table, false)),
            ..self
        }
    }
}

impl<P: Participant> Documents<P> {
    /// The state of a saga, for whoever asks; `None` if nothing was heard of it.
    ///
    /// # Errors
    /// If the database does not answer, or the document was written by another build.
    pub async fn find(&self, pool: &PgPool, key: &P::Key) -> Result<Option<P::State>, sqlx::Error>
    where
        P::State: DeserializeOwned + Unpin,
    {
        find(&self.sagas, pool, key).await
    }

    /// A shared row, for whoever asks.
    ///
    /// # Errors
    /// If the database does not answer, or the document was written by another build.
    pub async fn find_shared(
        &self,
        pool: &PgPool,
        key: &P::SharedKey,
    ) -> Result<Option<P::Shared>, sqlx::Error>
    where
        P::Shared: DeserializeOwned + Unpin,
    {
        match &self.shared {
            Some(table) => find(table, pool, key).await,
            None => Ok(None),
        }
    }
}

impl<P: Participant> Store<P> for Documents<P>
where
    P::State: Serialize + DeserializeOwned + Unpin,
    P::Shared: Serialize + DeserializeOwned + Unpin,
{
    async fn load(
        &self,
        tx: &mut PgConnection,
        keys: &[P::Key],
    ) -> Result<Rows<P::Key, P::State>, sqlx::Error> {
        let rows = self.sagas.load(tx, keys).await?;
        let states = rows.into_iter();
        Ok(states
            .map(|(key, state)| (key, state.unwrap_or_default()))
            .collect())
    }

    async fn load_shared(
        &self,
        tx: &mut PgConnection,
        keys: &[P::SharedKey],
    ) -> Result<Rows<P::SharedKey, Option<P::Shared>>, sqlx::Error> {
        match &self.shared {
            Some(table) => table.load(tx, keys).await,
            None if keys.is_empty() => Ok(Vec::new()),
            None => Err(sqlx::Error::Configuration(
                format!("{} has shared rows; say Documents::shared(table)", P::NAME).into(),
            )),
        }
    }

    async fn read_shared(
        &self,
        tx: &mut PgConnection,
        keys: &[P::SharedKey],
    ) -> Result<Rows<P::SharedKey, Option<P::Shared>>, sqlx::Error> {
        let Some(table) = &self.shared else {
            return self.load_shared(tx, keys).await;
        };
        let rows = sqlx::query_as(AssertSqlSafe(table.read.clone())).bind(texts(keys));
        let mut found: Rows<P::SharedKey, Option<P::Shared>> = read(rows.fetch_all(tx).await?)?;
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let absent = keys
            .iter()
            .filter(|key| found.binary_search_by(|(known, _)| known.cmp(key)).is_err());
        let absent: Vec<_> = absent.map(|key| (key.clone(), None)).collect();
        found.extend(absent);
        Ok(found)
    }

    async fn save(
        &self,
        tx: &mut PgConnection,
        sagas: &[Saved<P>],
        shared: &[(P::SharedKey, P::Shared)],
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        let states = sagas.iter();
        let states: Vec<_> = states
            .map(|saga| (saga.key.to_string(), &saga.state, saga.ended))
            .collect();
        self.sagas.save(&mut *tx, &states, Some(now)).await?;
        match &self.shared {
            Some(table) => {
                let rows: Vec<_> = shared
                    .iter()
                    .map(|(key, row)| (key.to_string(), row, false))
                    .collect();
                table.save(tx, &rows, None).await
            }
            None => Ok(()),
        }
    }

    async fn prune(
        &self,
        tx: &mut PgConnection,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, sqlx::Error> {
        let prune = sqlx::query(AssertSqlSafe(self.sagas.prune.clone()));
        let pruned = prune.bind(before).bind(limit).bind(P::NAME).execute(tx).await?;
        Ok(pruned.rows_affected())
    }

    async fn prune_blank(
        &self,
        tx: &mut PgConnection,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, sqlx::Error> {
        let mut pruned = 0;
        for table in std::iter::once(&self.sagas).chain(&self.shared) {
            let prune = sqlx::query(AssertSqlSafe(table.prune_blank.clone()));
            let done = prune.bind(before).bind(limit).execute(&mut *tx).await?;
            pruned += done.rows_affected();
        }
        Ok(pruned)
    }
}

impl<P> fmt::Debug for Documents<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents")
            .field("sagas", &self.sagas.lock)
            .field("shared", &self.shared.as_ref().map(|table| &table.lock))
            .finish()
    }
}

async fn find<K, V>(table: &Table, pool: &PgPool, key: &K) -> Result<Option<V>, sqlx::Error>
where
    K: fmt::Display + FromStr,
    V: DeserializeOwned + Send + Unpin + 'static,
{
    let rows = sqlx::query_as(AssertSqlSafe(table.read.clone())).bind(vec![key.to_string()]);
    let found: Rows<K, Option<V>> = read(rows.fetch_all(pool).await?)?;
    Ok(found.into_iter().find_map(|(_, state)| state))
}

fn texts<K: fmt::Display>(keys: &[K]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}

/// A row without a document is there to be locked, which is all that it says.
fn read<K: FromStr, V>(rows: Vec<(String, Option<Json<V>>)>) -> Result<Rows<K, Option<V>>, sqlx::Error> {
    rows.into_iter()
        .map(|(text, state)| {
            let key = text
                .parse()
                .map_err(|_| sqlx::Error::Decode(format!("'{text}' is no key of ours").into()))?;
            Ok((key, state.map(|Json(state)| state)))
        })
        .collect()
}
