use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use saga_core::envelope::CE_ID;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::topics::Record;
use super::witness::{self, Committed};

/// Calls of these sagas that are to be made.
pub const EFFECTS: &str =
    "select saga, kind, attempt, last_error from saga.effect where due_at is not null and saga = any($1)";
/// Timers of these sagas.
pub const TIMERS: &str = "select saga, name from saga.timer where saga = any($1)";
/// Which of these keys are parked.
pub const PARKED: &str = "select participant, key, reason from saga.parked_key where key = any($1)";
/// How far each consumer has come.
pub const PLACES: &str = "select consumer, topic, partition, next_offset from saga.consumer_offset";

/// Every database of a system that has an outbox, as the superuser.
#[derive(Clone, Debug)]
pub struct Outboxes(BTreeMap<String, PgPool>);

impl Outboxes {
    /// By their names, with the URLs of a superuser. A name is the one that the relay knows the outbox by.
    ///
    /// # Errors
    /// If one cannot be reached.
    pub async fn open(databases: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut outboxes = BTreeMap::new();
        for (name, url) in databases {
            let pool = connect(&url).await.with_context(|| format!("database {name}"))?;
            outboxes.insert(name, pool);
        }
        Ok(Self(outboxes))
    }

    /// One of them.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn named(&self, name: &str) -> Result<&PgPool> {
        self.0
            .get(name)
            .with_context(|| format!("there is no outbox {name}"))
    }

    /// Says what of a saga is outstanding, waits or is parked; nothing if it is at rest.
    ///
    /// # Errors
    /// That, or what a database said.
    pub async fn at_rest(&self, key: &str) -> Result<()> {
        let keys = vec![key.to_owned()];
        for (name, database) in &self.0 {
            let effects: Vec<(String, String, i32, Option<String>)> =
                sqlx::query_as(EFFECTS).bind(&keys).fetch_all(database).await?;
            ensure!(effects.is_empty(), "{name} has calls to make: {effects:?}");
            let timers: Vec<(String, String)> =
                sqlx::query_as(TIMERS).bind(&keys).fetch_all(database).await?;
            ensure!(timers.is_empty(), "{name} waits for timers: {timers:?}");
            let parked: Vec<(String, String, String)> =
                sqlx::query_as(PARKED).bind(&keys).fetch_all(database).await?;
            ensure!(parked.is_empty(), "{name} has parked it: {parked:?}");
        }
        Ok(())
    }

    /// What was committed about a key, by the name of the outbox.
    ///
    /// # Errors
    /// What a database said.
    pub async fn committed(&self, key: &str) -> Result<BTreeMap<String, Vec<Committed>>> {
        let mut all = BTreeMap::new();
        for (name, database) in &self.0 {
            all.insert(name.clone(), witness::of_key(database, key).await?);
        }
        Ok(all)
    }

    /// What was committed about a key, if all of it is among these records and everybody who reads those has read them.
    ///
    /// # Errors
    /// What is not, or what a database said.
    pub async fn read_by_all(
        &self,
        key: &str,
        records: &[Record],
    ) -> Result<BTreeMap<String, Vec<Committed>>> {
        // In this order: whoever has read a record has committed what he did about it.
        for (name, database) in &self.0 {
            let places: Vec<(String, String, i32, i64)> = sqlx::query_as(PLACES).fetch_all(database).await?;
            let unread = records.iter().find(|record| {
                places.iter().any(|(_, topic, partition, next)| {
                    (topic, *partition) == (&record.topic, record.partition) && record.offset >= *next
                })
            });
            if let Some(record) = unread {
                let (topic, partition, offset) = (&record.topic, record.partition, record.offset);
                bail!("{name} has not read {topic}/{partition}@{offset}");
            }
        }
        let committed = self.committed(key).await?;
        let ids: BTreeSet<&str> = records.iter().filter_map(|record| record.header(CE_ID)).collect();
        let waiting = committed
            .values()
            .flatten()
            .find(|event| !ids.contains(event.id.to_string().as_str()));
        ensure!(waiting.is_none(), "{waiting:?} is not published");
        Ok(committed)
    }
}

/// A few connections, for many who look at the same time.
pub(crate) async fn connect(url: &str) -> Result<PgPool> {
    Ok(PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(60))
        .connect(url)
        .await?)
}
