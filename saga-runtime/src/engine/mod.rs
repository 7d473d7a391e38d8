//! The transaction of a batch: load, decide, save, append, one commit.

mod apply;
pub(crate) mod batch;
pub(crate) mod decide;
mod ledger;
pub(crate) mod offsets;
pub(crate) mod stuck;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::Utc;
use quadrille_process::Health;
use quadrille_process::fault::{self, Point};
use saga_core::{Participant, Rows};
use sqlx::{PgConnection, PgPool};
use tokio::sync::{Notify, broadcast};

use crate::command::idempotency;
use crate::doorbell::Doorbell;
use crate::engine::batch::{Entry, What};
use crate::engine::decide::{Decided, Loaded, Reply, decide};
use crate::error::Error;
use crate::metrics as names;
use crate::{inbox, outbox, quarantine, store::Store};

pub(crate) use apply::Applied;
pub use batch::Idempotency;
pub(crate) use ledger::STATEMENTS as LEDGER_STATEMENTS;

/// A participant with its store: everything that may change its state goes through [`Engine::transact`].
#[derive(Debug)]
pub(crate) struct Engine<P: Participant, S> {
    pub(crate) participant: P,
    pub(crate) store: S,
    /// Prefix of topics and groups.
    pub(crate) prefix: String,
    /// Consumer group, and the key of everything that is remembered about consumption.
    pub(crate) consumer: String,
    /// Rung when an effect was written.
    pub(crate) effects: Notify,
    /// Rung when events were written, if there is a relay to hear it.
    doorbell: Option<Arc<Doorbell>>,
    /// Sagas whose state has changed, for whoever watches one. A watcher that is too slow misses some.
    pub(crate) changes: broadcast::Sender<P::Key>,
    /// What an operator has to mend.
    stuck: stuck::Stuck,
}

/// A transaction that committed.
#[derive(Debug)]
pub(crate) struct Committed<P: Participant> {
    /// Entries `0..upto` are in it.
    pub(crate) upto: usize,
    /// Answers to commands, by entry.
    pub(crate) replies: Vec<(usize, Told<P>)>,
}

/// What the caller of a command is told.
#[derive(Debug)]
pub(crate) enum Told<P: Participant> {
    Now(Reply<P>),
    /// The first answer again.
    Again(P::Reply),
    /// The idempotency key was used with another request.
    KeyReused,
}

// By hand: a derive would ask the participant itself to be Clone.
impl<P: Participant> Clone for Told<P> {
    fn clone(&self) -> Self {
        match self {
            Self::Now(reply) => Self::Now(reply.clone()),
            Self::Again(reply) => Self::Again(reply.clone()),
            Self::KeyReused => Self::KeyReused,
        }
    }
}

impl<P: Participant, S: Store<P>> Engine<P, S> {
    pub(crate) fn new(
        participant: P,
        store: S,
        prefix: &str,
        health: Health,
        doorbell: Option<Arc<Doorbell>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            participant,
            store,
            prefix: prefix.to_owned(),
            consumer: format!("{prefix}{}", P::NAME),
            effects: Notify::new(),
            doorbell,
            changes: broadcast::channel(4096).0,
            stuck: stuck::Stuck::new(health),
        })
    }

    /// Decides `entries` in one transaction. `expected` says from which offset each of their partitions was
    /// read; nothing is written if somebody else has moved one.
    pub(crate) async fn transact(
        &self,
        pool: &PgPool,
        entries: &[Entry<P>],
        expected: &BTreeMap<(String, i32), i64>,
    ) -> Result<Committed<P>, Error> {
        fault::reach(Point::EngineBeforeBegin, || batch::about(entries)).await?;
        let mut tx = pool
            .begin()
            .await
            .map_err(|source| self.broken("begin a transaction", source))?;
        let (decided, committed) = self.fill(&mut tx, entries, expected).await?;
        fault::reach(Point::EngineBeforeCommit, || batch::about(entries)).await?;
        tx.commit()
            .await
            .map_err(|source| self.broken("commit", source))?;
        fault::reach(Point::EngineAfterCommit, || batch::about(entries)).await?;
        self.tell(&decided);
        Ok(committed)
    }

    /// Locks in the order that `migrations/engine` lays down, decides, writes.
    async fn fill(
        &self,
        tx: &mut PgConnection,
        entries: &[Entry<P>],
        expected: &BTreeMap<(String, i32), i64>,
    ) -> Result<(Decided<P>, Committed<P>), Error> {
        let advance = offsets::Advance::of(entries);
        advance
            .claim(tx, &self.consumer, expected)
            .await
            .map_err(|error| match error {
                offsets::ClaimError::NotOwner => Error::NotOwner {
                    consumer: self.consumer.clone(),
                    partitions: expected.len(),
                },
                offsets::ClaimError::Database(source) => self.failed("move the offset", source),
            })?;
        fault::reach(Point::EngineAfterOffset, || batch::about_records(entries)).await?;

        let mut asked = idempotency::claim(tx, entries)
            .await
            .map_err(|source| self.failed("look up idempotency keys", source))?;
        let mut void: BTreeSet<usize> = asked.known.keys().copied().collect();
        void.extend(asked.followers.keys());
        void.extend(
            inbox::known(tx, &self.consumer, entries)
                .await
                .map_err(|source| self.failed("ask the inbox", source))?,
        );

        let keys: BTreeSet<String> = entries.iter().filter_map(Entry::quarantine_key).collect();
        let parked = quarantine::lock(tx, P::NAME, &keys)
            .await
            .map_err(|source| self.failed("look up parked keys", source))?;
        void.extend(
            quarantine::gone(tx, entries)
                .await
                .map_err(|source| self.failed("look up parked messages", source))?,
        );

        let sagas = self.load(tx, entries, &void).await?;
        let shared = self.load_shared(tx, entries, &void, &sagas).await?;
        void.extend(
            ledger::void(tx, entries)
                .await
                .map_err(|source| self.failed("look up timers and claims", source))?,
        );

        let now = Utc::now();
        let loaded = Loaded {
            sagas,
            shared,
            parked,
            void: void.clone(),
        };
        let decided = decide(&self.participant, &self.prefix, entries, loaded, now);

        if decided.upto < entries.len() {
            offsets::Advance::of(&entries[..decided.upto])
                .settle(tx, &self.consumer, expected, &advance)
                .await
                .map_err(|source| self.failed("move the offset back to the prefix", source))?;
        }
        offsets::note_sources(tx, &self.consumer, &entries[..decided.upto])
            .await
            .map_err(|source| self.failed("note positions", source))?;
        self.write(tx, entries, &decided, &void, now).await?;

        asked.followers.retain(|follower, _| *follower < decided.upto);
        asked.known.retain(|entry, _| *entry < decided.upto);
        let replies = idempotency::answer::<P>(tx, entries, &decided, asked).await?;
        outbox::append(tx, &decided.events)
            .await
            .map_err(|source| self.failed("append to the outbox", source))?;
        let committed = Committed {
            upto: decided.upto,
            replies,
        };
        Ok((decided, committed))
    }

    async fn load(
        &self,
        tx: &mut PgConnection,
        entries: &[Entry<P>],
        void: &BTreeSet<usize>,
    ) -> Result<BTreeMap<P::Key, P::State>, Error> {
        let keys: BTreeSet<P::Key> = live(entries, void)
            .filter_map(|(_, entry)| entry.saga().cloned())
            .collect();
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let keys: Vec<P::Key> = keys.into_iter().collect();
        let rows = self
            .store
            .load(tx, &keys)
            .await
            .map_err(|source| self.failed("load sagas", source))?;
        all_answered::<P>(keys.len(), rows.len())?;
        Ok(rows.into_iter().collect())
    }

    /// What the decisions may touch, as far as the states that were loaded tell.
    async fn load_shared(
        &self,
        tx: &mut PgConnection,
        entries: &[Entry<P>],
        void: &BTreeSet<usize>,
        sagas: &BTreeMap<P::Key, P::State>,
    ) -> Result<Rows<P::SharedKey, P::Shared>, Error> {
        let unheard = P::State::default();
        let (mut touched, mut read) = (BTreeSet::new(), BTreeSet::new());
        for (_, entry) in live(entries, void) {
            if let What::Input { input, saga } = &entry.what {
                let state = saga.as_ref().and_then(|key| sagas.get(key)).unwrap_or(&unheard);
                touched.extend(self.participant.touches(state, input));
                read.extend(self.participant.reads(state, input));
            }
        }
        read.retain(|key| !touched.contains(key));
        let mut locked = Vec::new();
        if !touched.is_empty() {
            let touched: Vec<P::SharedKey> = touched.into_iter().collect();
            locked = self
                .store
                .load_shared(tx, &touched)
                .await
                .map_err(|source| self.failed("load shared rows", source))?;
            all_answered::<P>(touched.len(), locked.len())?;
        }
        let mut seen = Vec::new();
        if !read.is_empty() {
            let read: Vec<P::SharedKey> = read.into_iter().collect();
            seen = self
                .store
                .read_shared(tx, &read)
                .await
                .map_err(|source| self.failed("read shared rows", source))?;
            all_answered::<P>(read.len(), seen.len())?;
        }
        Ok(Rows::new(locked).reading(seen))
    }

    async fn write(
        &self,
        tx: &mut PgConnection,
        entries: &[Entry<P>],
        decided: &Decided<P>,
        void: &BTreeSet<usize>,
        now: chrono::DateTime<Utc>,
    ) -> Result<(), Error> {
        if !decided.sagas.is_empty() || !decided.shared.is_empty() {
            self.store
                .save(tx, &decided.sagas, &decided.shared, now)
                .await
                .map_err(|source| self.failed("save", source))?;
        }
        let done = &entries[..decided.upto];
        quarantine::park(tx, P::NAME, &self.prefix, done, &decided.parks)
            .await
            .map_err(|source| self.failed("park", source))?;
        quarantine::unpark(tx, P::NAME, done, &decided.parks)
            .await
            .map_err(|source| self.failed("take a replayed message out of the quarantine", source))?;
        let parked: BTreeSet<usize> = decided.parks.iter().map(|park| park.entry).collect();
        ledger::consume(tx, done, |entry| void.contains(&entry) || parked.contains(&entry))
            .await
            .map_err(|source| self.failed("take timers and outcomes off the books", source))?;
        ledger::write_effects(tx, P::NAME, &decided.effects).await?;
        ledger::write_timers(tx, P::NAME, &decided.timers)
            .await
            .map_err(|source| self.failed("set timers", source))
    }

    /// What others in the process may want to know of a commit.
    fn tell(&self, decided: &Decided<P>) {
        if !decided.effects.is_empty() {
            self.effects.notify_one();
        }
        if let Some(doorbell) = &self.doorbell
            && !decided.events.is_empty()
        {
            doorbell.ring();
        }
        for saved in &decided.sagas {
            // Nobody watches: nobody is told.
            drop(self.changes.send(saved.key.clone()));
        }
        metrics::counter!(names::SAGAS_BEGAN, "participant" => P::NAME).increment(decided.began);
        metrics::counter!(names::SAGAS_ENDED, "participant" => P::NAME).increment(decided.ended);
        metrics::counter!(names::EVENTS_WRITTEN, "participant" => P::NAME)
            .increment(decided.events.len() as u64);
        for park in &decided.parks {
            if let Some(reason) = &park.reason {
                metrics::counter!(names::KEYS_PARKED, "participant" => P::NAME).increment(1);
                tracing::error!(
                    participant = P::NAME,
                    key = park.key,
                    reason,
                    "parked a key; look with 'sagactl parked show', mend the cause, then replay or discard"
                );
            }
        }
    }

    fn broken(&self, doing: &'static str, source: sqlx::Error) -> Error {
        Error::Transaction {
            participant: P::NAME,
            doing,
            source,
        }
    }

    pub(crate) fn failed(&self, doing: &'static str, source: sqlx::Error) -> Error {
        Error::Database {
            participant: P::NAME,
            doing,
            source,
        }
    }
}

/// A row that is pruned after the store has found it, and before it has locked it, is not answered. What is decided
/// without it could not be saved, and its events would go out all the same.
fn all_answered<P: Participant>(wanted: usize, answered: usize) -> Result<(), Error> {
    match wanted.checked_sub(answered) {
        None | Some(0) => Ok(()),
        Some(missing) => Err(Error::PrunedMeanwhile {
            participant: P::NAME,
            missing,
            wanted,
        }),
    }
}

fn live<'e, P: Participant>(
    entries: &'e [Entry<P>],
    void: &'e BTreeSet<usize>,
) -> impl Iterator<Item = (usize, &'e Entry<P>)> {
    entries.iter().enumerate().filter(|(i, _)| !void.contains(i))
}
