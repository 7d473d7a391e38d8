//! Applies a batch whatever comes: waits while the database is away, goes one by one when something in the
//! batch is wrong, and parks the culprit.

use std::collections::BTreeMap;
use std::time::Instant;

use saga_core::Participant;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::engine::batch::{Entry, Origin, What};
use crate::engine::decide::Reply;
use crate::engine::stuck::Held;
use crate::engine::{Engine, Told};
use crate::error::{Backoff, Error, Verdict};
use crate::metrics as names;
use crate::store::Store;

/// How a batch ended.
#[derive(Debug)]
pub(crate) enum Applied<P: Participant> {
    /// Everything in it is committed, parked or known.
    Done { replies: Vec<(usize, Told<P>)> },
    /// Somebody else owns a partition of it; what is left was not applied.
    NotOwner,
    /// It was told to stop while the database was away.
    Stopped,
}

impl<P: Participant, S: Store<P>> Engine<P, S> {
    /// Applies `entries` in order. `expected` is where their partitions stand, and is moved along.
    pub(crate) async fn apply(
        &self,
        pool: &PgPool,
        mut entries: Vec<Entry<P>>,
        expected: &mut BTreeMap<(String, i32), i64>,
        stop: &CancellationToken,
    ) -> Applied<P> {
        let mut replies = Vec::new();
        let mut begin = 0;
        let mut at_once = entries.len();
        let mut backoff = Backoff::of_infrastructure();
        let mut stuck: Option<Held<'_>> = None;
        while begin < entries.len() {
            let end = (begin + at_once).min(entries.len());
            let started = Instant::now();
            match self.transact(pool, &entries[begin..end], expected).await {
                Ok(committed) => {
                    metrics::histogram!(names::BATCH_SECONDS, "participant" => P::NAME)
                        .record(started.elapsed());
                    let done = &entries[begin..begin + committed.upto];
                    #[allow(clippy::cast_precision_loss)]
                    metrics::histogram!(names::BATCH_ENTRIES, "participant" => P::NAME)
                        .record(done.len() as f64);
                    for (partition, next) in super::offsets::Advance::of(done).iter() {
                        expected.insert(partition.clone(), next);
                    }
                    replies.extend(committed.replies.into_iter().map(|(i, told)| (begin + i, told)));
                    begin += committed.upto;
                    backoff.reset();
                    stuck = None;
                }
                Err(error) => match error.verdict() {
                    Verdict::Reload => return Applied::NotOwner,
                    Verdict::Isolate if end - begin > 1 => {
                        tracing::warn!(
                            participant = P::NAME,
                            entries = end - begin,
                            error = error.chain(),
                            "a batch failed; going one by one"
                        );
                        at_once = 1;
                    }
                    Verdict::Isolate if !matches!(entries[begin].what, What::Undecodable { .. }) => {
                        if let Some(told) = self.give_up(&mut entries[begin], error.chain()) {
                            replies.push((begin, told));
                            begin += 1;
                        }
                    }
                    // The database is away or not what it should be; or it takes no entry, and not even its parking.
                    verdict => {
                        let wait = backoff.next_wait();
                        metrics::counter!(names::BATCH_RETRIES, "participant" => P::NAME).increment(1);
                        if verdict == Verdict::Isolate || error.needs_somebody() {
                            stuck
                                .get_or_insert_with(|| self.hold_up(&error))
                                .because(error.chain());
                        }
                        tracing::warn!(
                            participant = P::NAME,
                            entries = end - begin,
                            error = error.chain(),
                            wait_ms = wait.as_millis(),
                            "a transaction has to be tried again"
                        );
                        tokio::select! {
                            () = tokio::time::sleep(wait) => {}
                            () = stop.cancelled() => return Applied::Stopped,
                        }
                    }
                },
            }
        }
        Applied::Done { replies }
    }

    /// This entry alone cannot be written: it becomes one that cannot be decided, which parks its key. A
    /// command changes nothing then, and its caller is told at once.
    fn give_up(&self, entry: &mut Entry<P>, why: String) -> Option<Told<P>> {
        tracing::warn!(participant = P::NAME, entry = %entry.id, why, "an entry cannot be written");
        if matches!(entry.origin, Origin::Command(_)) {
            return Some(Told::Now(Reply::GivenUp(why)));
        }
        if let (Origin::Timer { .. } | Origin::Outcome { .. }, Some(key)) =
            (&entry.origin, entry.quarantine_key())
        {
            entry.origin = Origin::Broken { key };
        }
        entry.what = What::Undecodable { reason: why };
        None
    }

    fn hold_up(&self, error: &Error) -> Held<'_> {
        tracing::error!(
            participant = P::NAME,
            error = error.chain(),
            "the database refuses what is decided, whatever it is; nothing goes on until somebody mends that"
        );
        self.stuck.hold()
    }
}
