//! What every [`Store`] has to do, as a check that its service runs in a test.
//!
//! A store that breaks one of these rules loses an input or writes over somebody else's, and only under load.

use std::collections::BTreeMap;
use std::fmt::Debug;

use chrono::{Duration, Utc};
use saga_core::Participant;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use crate::store::{Rows, Saved, Store};

/// What a store is checked with: keys of which its database knows nothing, and for each of them what it goes
/// through, one after another. Include every shape that a state or a row can have.
#[derive(Clone, Debug)]
pub struct Samples<P: Participant> {
    /// Sagas. At least two.
    pub sagas: Vec<(P::Key, Vec<P::State>)>,
    /// Shared rows.
    pub shared: Vec<(P::SharedKey, Vec<P::Shared>)>,
}

/// A rule that a store breaks.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The database refused.
    #[error("while checking that {rule}")]
    Database {
        /// The rule.
        rule: &'static str,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
    /// The store did something else.
    #[error("it does not hold that {rule}: {found}")]
    Rule {
        /// The rule.
        rule: &'static str,
        /// What was seen.
        found: String,
    },
}

type Checked = Result<(), Broken>;

/// Checks `store` as the role that `pool` connects with, which is the service's own. The pool has two
/// connections at least.
///
/// # Errors
/// The first rule that is broken.
pub async fn check<P: Participant, S: Store<P>>(
    pool: &PgPool,
    participant: &P,
    store: &S,
    samples: &Samples<P>,
) -> Checked {
    let suite = Suite {
        pool,
        participant,
        store,
        samples,
    };
    // First, while there are no rows: that is the case in which a plain `for update` locks nothing.
    suite.sagas_are_locked("a saga without a row is locked").await?;
    suite
        .shared_rows_are_locked("a shared row that does not exist is locked")
        .await?;
    suite.unheard_sagas_are_answered().await?;
    suite.blank_rows_say_nothing().await?;
    suite.what_is_saved_is_loaded().await?;
    suite.sagas_are_locked("a saga with a row is locked").await?;
    suite.shared_rows_are_locked("a shared row is locked").await?;
    suite.what_is_rolled_back_is_gone().await?;
    suite.blank_rows_say_nothing().await?;
    suite.what_ended_just_now_is_not_pruned().await
}

struct Suite<'s, P: Participant, S> {
    pool: &'s PgPool,
    participant: &'s P,
    store: &'s S,
    samples: &'s Samples<P>,
}

impl<P: Participant, S: Store<P>> Suite<'_, P, S> {
    async fn unheard_sagas_are_answered(&self) -> Checked {
        const RULE: &str = "a saga of which nothing was heard is answered with its default";
        const SHARED: &str = "a shared row that does not exist is answered with None";
        let mut tx = self.begin(RULE).await?;
        let unheard: BTreeMap<P::Key, P::State> = self
            .keys()
            .into_iter()
            .map(|key| (key, P::State::default()))
            .collect();
        equal(RULE, &each_once(RULE, self.load(RULE, &mut tx).await?)?, &unheard)?;
        let none: BTreeMap<P::SharedKey, Option<P::Shared>> =
            self.shared_keys().into_iter().map(|key| (key, None)).collect();
        // Read first: what is locked may have been put there for it.
        equal(
            SHARED,
            &each_once(SHARED, self.read_shared(SHARED, &mut tx).await?)?,
            &none,
        )?;
        equal(
            SHARED,
            &each_once(SHARED, self.load_shared(SHARED, &mut tx).await?)?,
            &none,
        )?;
        // Committed: a row that is there only to be locked must still read as nothing afterwards.
        commit(RULE, tx).await?;
        let mut tx = self.begin(RULE).await?;
        equal(RULE, &each_once(RULE, self.load(RULE, &mut tx).await?)?, &unheard)?;
        equal(
            SHARED,
            &each_once(SHARED, self.load_shared(SHARED, &mut tx).await?)?,
            &none,
        )
    }

    /// Two transactions want the same saga: the second one waits, so with a bound to its waiting it fails.
    async fn sagas_are_locked(&self, rule: &'static str) -> Checked {
        for key in self.keys() {
            let mut first = self.begin(rule).await?;
            let key = std::slice::from_ref(&key);
            ok(rule, self.store.load(&mut first, key).await)?;
            let mut second = self.impatient(rule).await?;
            has_waited(rule, self.store.load(&mut second, key).await)?;
            ok(rule, second.rollback().await)?;
            ok(rule, first.rollback().await)?;
        }
        Ok(())
    }

    async fn shared_rows_are_locked(&self, rule: &'static str) -> Checked {
        for key in self.shared_keys() {
            let mut first = self.begin(rule).await?;
            let key = std::slice::from_ref(&key);
            ok(rule, self.store.load_shared(&mut first, key).await)?;
            let mut second = self.impatient(rule).await?;
            has_waited(rule, self.store.load_shared(&mut second, key).await)?;
            ok(rule, second.rollback().await)?;
            ok(rule, first.rollback().await)?;
        }
        Ok(())
    }

    /// Everything goes through all that it may be; in each round, every second saga stays as it is.
    async fn what_is_saved_is_loaded(&self) -> Checked {
        const RULE: &str = "what was saved is loaded, and nothing else has changed";
        let mut sagas: BTreeMap<P::Key, P::State> = self
            .keys()
            .into_iter()
            .map(|key| (key, P::State::default()))
            .collect();
        let mut shared: BTreeMap<P::SharedKey, Option<P::Shared>> =
            self.shared_keys().into_iter().map(|key| (key, None)).collect();
        let rounds = self.samples.sagas.iter().map(|(_, states)| states.len());
        let rounds = rounds
            .chain(self.samples.shared.iter().map(|(_, rows)| rows.len()))
            .max()
            .unwrap_or(0);
        for round in 0..2 * rounds {
            let turn = |n: usize| n % 2 == round % 2;
            let mut tx = self.begin(RULE).await?;
            self.load(RULE, &mut tx).await?;
            self.load_shared(RULE, &mut tx).await?;
            let changed: Vec<Saved<P>> = self
                .samples
                .sagas
                .iter()
                .enumerate()
                .filter(|(n, _)| turn(*n))
                .filter_map(|(_, (key, states))| Some(self.saved(key, states.get(round / 2)?)))
                .collect();
            let rows: Vec<(P::SharedKey, P::Shared)> = self
                .samples
                .shared
                .iter()
                .enumerate()
                .filter(|(n, _)| turn(*n))
                .filter_map(|(_, (key, rows))| Some((key.clone(), rows.get(round / 2)?.clone())))
                .collect();
            ok(RULE, self.store.save(&mut tx, &changed, &rows, Utc::now()).await)?;
            commit(RULE, tx).await?;
            sagas.extend(changed.into_iter().map(|saved| (saved.key, saved.state)));
            shared.extend(rows.into_iter().map(|(key, row)| (key, Some(row))));

            let mut tx = self.begin(RULE).await?;
            equal(RULE, &each_once(RULE, self.load(RULE, &mut tx).await?)?, &sagas)?;
            equal(
                RULE,
                &each_once(RULE, self.load_shared(RULE, &mut tx).await?)?,
                &shared,
            )?;
            equal(
                RULE,
                &each_once(RULE, self.read_shared(RULE, &mut tx).await?)?,
                &shared,
            )?;
        }
        Ok(())
    }

    async fn what_is_rolled_back_is_gone(&self) -> Checked {
        const RULE: &str = "what was rolled back is gone";
        let mut tx = self.begin(RULE).await?;
        let sagas = each_once(RULE, self.load(RULE, &mut tx).await?)?;
        let shared = each_once(RULE, self.load_shared(RULE, &mut tx).await?)?;
        let first: Vec<Saved<P>> = self
            .samples
            .sagas
            .iter()
            .filter_map(|(key, states)| Some(self.saved(key, states.first()?)))
            .collect();
        let rows: Vec<(P::SharedKey, P::Shared)> = self
            .samples
            .shared
            .iter()
            .filter_map(|(key, rows)| Some((key.clone(), rows.first()?.clone())))
            .collect();
        ok(RULE, self.store.save(&mut tx, &first, &rows, Utc::now()).await)?;
        ok(RULE, tx.rollback().await)?;
        let mut tx = self.begin(RULE).await?;
        equal(RULE, &each_once(RULE, self.load(RULE, &mut tx).await?)?, &sagas)?;
        equal(
            RULE,
            &each_once(RULE, self.load_shared(RULE, &mut tx).await?)?,
            &shared,
        )
    }

    /// Blank rows may go at any time: whoever asks again is told the same.
    async fn blank_rows_say_nothing(&self) -> Checked {
        const RULE: &str = "what is pruned as blank says nothing";
        let mut tx = self.begin(RULE).await?;
        let sagas = each_once(RULE, self.load(RULE, &mut tx).await?)?;
        let shared = each_once(RULE, self.load_shared(RULE, &mut tx).await?)?;
        let later = Utc::now() + Duration::days(1);
        ok(RULE, self.store.prune_blank(&mut tx, later, 1000).await)?;
        equal(RULE, &each_once(RULE, self.load(RULE, &mut tx).await?)?, &sagas)?;
        equal(
            RULE,
            &each_once(RULE, self.load_shared(RULE, &mut tx).await?)?,
            &shared,
        )
    }

    async fn what_ended_just_now_is_not_pruned(&self) -> Checked {
        const RULE: &str = "a saga is pruned only when its retention is over";
        let mut tx = self.begin(RULE).await?;
        let sagas = each_once(RULE, self.load(RULE, &mut tx).await?)?;
        let long_ago = Utc::now() - Duration::days(1);
        ok(RULE, self.store.prune(&mut tx, long_ago, 1000).await)?;
        equal(RULE, &each_once(RULE, self.load(RULE, &mut tx).await?)?, &sagas)
    }

    fn saved(&self, key: &P::Key, state: &P::State) -> Saved<P> {
        Saved {
            key: key.clone(),
            state: state.clone(),
            ended: self.participant.is_ended(state),
        }
    }

    /// Sorted, as the engine hands them over.
    fn keys(&self) -> Vec<P::Key> {
        let mut keys: Vec<_> = self.samples.sagas.iter().map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        keys
    }

    fn shared_keys(&self) -> Vec<P::SharedKey> {
        let mut keys: Vec<_> = self.samples.shared.iter().map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        keys
    }

    async fn load(
        &self,
        rule: &'static str,
        tx: &mut PgConnection,
    ) -> Result<Rows<P::Key, P::State>, Broken> {
        ok(rule, self.store.load(tx, &self.keys()).await)
    }

    async fn load_shared(
        &self,
        rule: &'static str,
        tx: &mut PgConnection,
    ) -> Result<Rows<P::SharedKey, Option<P::Shared>>, Broken> {
        ok(rule, self.store.load_shared(tx, &self.shared_keys()).await)
    }

    async fn read_shared(
        &self,
        rule: &'static str,
        tx: &mut PgConnection,
    ) -> Result<Rows<P::SharedKey, Option<P::Shared>>, Broken> {
        ok(rule, self.store.read_shared(tx, &self.shared_keys()).await)
    }

    async fn begin(&self, rule: &'static str) -> Result<Transaction<'static, Postgres>, Broken> {
        ok(rule, self.pool.begin().await)
    }

    /// A transaction that fails when it has to wait for a lock.
    async fn impatient(&self, rule: &'static str) -> Result<Transaction<'static, Postgres>, Broken> {
        let mut tx = self.begin(rule).await?;
        ok(
            rule,
            sqlx::query("set local lock_timeout = '50ms'")
                .execute(&mut *tx)
                .await,
        )?;
        Ok(tx)
    }
}

async fn commit(rule: &'static str, tx: Transaction<'static, Postgres>) -> Checked {
    ok(rule, tx.commit().await)
}

fn ok<T>(rule: &'static str, result: Result<T, sqlx::Error>) -> Result<T, Broken> {
    result.map_err(|source| Broken::Database { rule, source })
}

/// `lock_not_available` is the proof that somebody had to wait.
fn has_waited<T>(rule: &'static str, result: Result<T, sqlx::Error>) -> Checked {
    match result {
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == "55P03") => Ok(()),
        Err(source) => Err(Broken::Database { rule, source }),
        Ok(_) => Err(Broken::Rule {
            rule,
            found: "a second transaction got it as well".to_owned(),
        }),
    }
}

fn each_once<K: Ord + Debug, V>(rule: &'static str, rows: Rows<K, V>) -> Result<BTreeMap<K, V>, Broken> {
    let mut each = BTreeMap::new();
    for (key, value) in rows {
        let found = format!("{key:?} was answered twice");
        if each.insert(key, value).is_some() {
            return Err(Broken::Rule { rule, found });
        }
    }
    Ok(each)
}

fn equal<T: PartialEq + Debug>(rule: &'static str, found: &T, expected: &T) -> Checked {
    if found == expected {
        return Ok(());
    }
    Err(Broken::Rule {
        rule,
        found: format!("{found:#?} instead of {expected:#?}"),
    })
}
