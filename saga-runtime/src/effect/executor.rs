//! Claims effects, calls, and feeds the answers back into `decide`.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use quadrille_process::fault::{self, About, Point};
use saga_core::{Inputs, Participant, RawOutcome};
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use crate::effect::wait::{ASKED_MAX, until_next};
use crate::effect::{Failure, Options, Performer, Performers, RawCall};
use crate::engine::batch::{Entry, Origin, What};
use crate::engine::{Applied, Engine};
use crate::error::{Backoff, panic_words};
use crate::metrics as names;
use crate::pause::Pauses;
use crate::store::Store;

/// This part of all slots is filled with one claim, if there is enough to do.
const SEVERAL: usize = 8;
/// How long a call may wait for others to be claimed with it.
const GATHERING: Duration = Duration::from_millis(10);

// A claim is a lease on this database's clock and a new number; whoever still works under an older number is
// not listened to. Sagas that are parked wait. What is due is asked of an index, which clock_timestamp() cannot be:
// it is volatile, and every claim would read all effects that are under way or postponed.
const CLAIM: &str = "\
update saga.effect e
   set claim_no = claim_no + 1, attempt = attempt + 1, due_at = clock_timestamp() + $3 * interval '1 millisecond',
       first_called_at = coalesce(first_called_at, clock_timestamp())
 where id in (select id from saga.effect c
               where participant = $1 and due_at <= statement_timestamp() and kind = any($2) and kind <> all($4)
                 and not exists (select 1 from saga.parked_key k where k.participant = c.participant and k.key = c.saga)
               order by due_at limit $5 for update skip locked)
returning id, saga, kind, payload, traceparent, claim_no, attempt, outcome,
          (extract(epoch from clock_timestamp() - first_called_at) * 1000)::int8 as age_ms";

const POSTPONE: &str = "\
update saga.effect set due_at = clock_timestamp() + $3 * interval '1 millisecond', last_error = $4
 where id = $1 and claim_no = $2";

const COUNT: &str = "\
select count(*) filter (where due_at is null), count(*) filter (where due_at is not null and last_error is not null),
       count(*) filter (where due_at is not null)
  from saga.effect where participant = $1";

/// The statements of this module.
pub(crate) const STATEMENTS: &[(&str, &str)] = &[("claim", CLAIM), ("postpone", POSTPONE), ("count", COUNT)];

#[derive(Debug, sqlx::FromRow)]
struct Claimed {
    id: Uuid,
    saga: String,
    kind: String,
    payload: Vec<u8>,
    traceparent: Option<String>,
    claim_no: i64,
    attempt: i32,
    outcome: i64,
    age_ms: i64,
}

/// A definite answer, or the end of the policy, on its way back into `decide`.
struct Answered {
    claimed: Claimed,
    outcome: RawOutcome,
    /// Held until the answer is committed, so that claims never outnumber the calls that can be under way.
    _permit: OwnedSemaphorePermit,
}

/// What the executor works with.
#[derive(Debug)]
pub(crate) struct Executor {
    /// For answers: their commits may be lost, the claim then ends and the call is made again.
    pub(crate) pool: PgPool,
    /// For claims: they are on disk before the call is made.
    pub(crate) durable: PgPool,
    pub(crate) performers: Performers,
    pub(crate) options: Options,
    pub(crate) pauses: Pauses,
    /// How long calls that are under way may take when the process stops.
    pub(crate) grace: Duration,
}

/// Performs effects until it is told to stop.
pub(crate) async fn run<P: Participant, S: Store<P>>(
    engine: Arc<Engine<P, S>>,
    executor: Executor,
    stop: CancellationToken,
) {
    let Executor {
        pool,
        durable,
        performers,
        options,
        pauses,
        grace,
    } = executor;
    let (answers, answered) = mpsc::channel(options.concurrency);
    let feed = tokio::spawn(feed_back(Arc::clone(&engine), pool, answered, stop.clone()));
    let slots = Arc::new(Semaphore::new(options.concurrency));
    let mut calls = JoinSet::new();
    let mut backoff = Backoff::of_infrastructure();
    let mut counted = Instant::now() - Duration::from_secs(60);
    while !stop.is_cancelled() {
        while calls.try_join_next().is_some() {}
        if counted.elapsed() >= Duration::from_secs(2) {
            counted = Instant::now();
            count(&durable, P::NAME).await;
        }
        let free = slots.available_permits();
        let mut backlog = false;
        let claimed = if free == 0 || pauses.is_paused(P::NAME, crate::pause::ALL) {
            Ok(Vec::new())
        } else {
            claim::<P>(&durable, &performers, &options, &pauses, free).await
        };
        let wait = match claimed {
            Err(error) => {
                let wait = backoff.next_wait();
                tracing::warn!(participant = P::NAME, %error, wait_ms = wait.as_millis(), "cannot claim effects");
                wait
            }
            Ok(mut claimed) => {
                backoff.reset();
                // More may wait than there was room for.
                backlog = claimed.len() == free;
                let of_all = || claimed.iter().map(about).collect();
                if fault::reach(Point::EffectAfterClaim, of_all).await.is_err() {
                    // Nobody heard that they are ours: they are due again when the claim ends.
                    claimed.clear();
                }
                for one in claimed {
                    let Ok(permit) = Arc::clone(&slots).try_acquire_owned() else {
                        break;
                    };
                    let Some(performer) = performers.get(&one.kind).cloned() else {
                        continue;
                    };
                    calls.spawn(call(
                        performer,
                        one,
                        permit,
                        P::NAME,
                        durable.clone(),
                        answers.clone(),
                    ));
                }
                options.poll
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = engine.effects.notified(), if !backlog => {}
            () = stop.cancelled() => {}
            () = gather(&slots, options.concurrency), if backlog => {}
        }
    }
    drop(answers);
    // A call that does not end in time is made again by the next process, under the same idempotency key.
    if tokio::time::timeout(grace, async { while calls.join_next().await.is_some() {} })
        .await
        .is_err()
    {
        calls.abort_all();
    }
    if feed.await.is_err() {
        tracing::error!(participant = P::NAME, "the task that feeds answers back panicked");
    }
}

/// Waits for room for a call, and a little longer for room for several: a claim is a commit that is on disk, and it looks
/// at everything that is due.
async fn gather(slots: &Semaphore, concurrency: usize) {
    // It is never closed.
    drop(slots.acquire().await);
    let several = u32::try_from(concurrency / SEVERAL).unwrap_or(u32::MAX).max(1);
    drop(tokio::time::timeout(GATHERING, slots.acquire_many(several)).await);
}

async fn claim<P: Participant>(
    durable: &PgPool,
    performers: &Performers,
    options: &Options,
    pauses: &Pauses,
    limit: usize,
) -> Result<Vec<Claimed>, sqlx::Error> {
    fault::reach(Point::EffectBeforeClaim, || vec![About::only(P::NAME)])
        .await
        .map_err(|injected| sqlx::Error::Protocol(injected.to_string()))?;
    let lease = performers.call_timeout_max() + options.lease_margin;
    // On a connection with synchronous_commit: a claim that a crash undoes, and with it perhaps the decision,
    // would leave a call in the world that nobody here remembers.
    sqlx::query_as(CLAIM)
        .bind(P::NAME)
        .bind(performers.kinds())
        .bind(millis(lease))
        .bind(pauses.kinds(P::NAME))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(durable)
        .await
}

async fn call(
    performer: Performer,
    claimed: Claimed,
    permit: OwnedSemaphorePermit,
    participant: &'static str,
    durable: PgPool,
    answers: mpsc::Sender<Answered>,
) {
    let attempt = u32::try_from(claimed.attempt).unwrap_or(u32::MAX);
    let policy = performer.policy;
    let raw = RawCall {
        id: claimed.id,
        payload: claimed.payload.clone(),
        attempt,
        ask_first: claimed.outcome > 0 || claimed.age_ms > millis(policy.forgotten_after),
    };
    let span = tracing::info_span!(
        "effect", otel.name = format!("effect {}", claimed.kind), otel.kind = "client", participant,
        saga = claimed.saga, effect = %claimed.id, attempt
    );
    if let Some(context) = &claimed.traceparent {
        quadrille_process::telemetry::set_parent(&span, context, None);
    }
    let started = Instant::now();
    // A call that takes its process along leaves nobody to say that it failed; its claim was counted all the same.
    let (attempt, result) = if attempt > policy.attempts.max(1) {
        let failure = Failure::new("the process ended during the last call, or did not begin it");
        (attempt - 1, Err(failure))
    } else {
        (attempt, make(&performer, raw, &claimed).instrument(span).await)
    };
    let (outcome, label) = match result {
        Ok(answer) => (RawOutcome::Answered(answer), "answered"),
        Err(failure) if policy.is_exhausted(attempt) => {
            tracing::warn!(
                participant,
                saga = claimed.saga,
                kind = claimed.kind,
                attempt,
                why = failure.why,
                "an effect was tried as often as its policy allows; its outcome is unknown"
            );
            (RawOutcome::Exhausted { attempts: attempt }, "exhausted")
        }
        Err(failure) => {
            let label = [
                ("participant", participant.to_owned()),
                ("kind", claimed.kind.clone()),
                ("outcome", "failed".to_owned()),
            ];
            metrics::counter!(names::EFFECT_CALLS, &label).increment(1);
            postpone(
                &durable,
                &claimed,
                policy.wait_after(attempt),
                failure,
                participant,
            )
            .await;
            return;
        }
    };
    let labels = [
        ("participant", participant.to_owned()),
        ("kind", claimed.kind.clone()),
        ("outcome", label.to_owned()),
    ];
    metrics::counter!(names::EFFECT_CALLS, &labels).increment(1);
    metrics::histogram!(names::EFFECT_SECONDS, "participant" => participant, "kind" => claimed.kind.clone())
        .record(started.elapsed());
    if fault::reach(Point::EffectBeforeAnswer, || vec![about(&claimed)])
        .await
        .is_err()
    {
        return;
    }
    // The feed ends after the last sender: it cannot be gone before.
    drop(
        answers
            .send(Answered {
                claimed,
                outcome,
                _permit: permit,
            })
            .await,
    );
}

/// One call. A panic in it is as indefinite as any other failure, and counts as one.
async fn make(performer: &Performer, raw: RawCall, claimed: &Claimed) -> Result<serde_json::Value, Failure> {
    let patience = performer.policy.call_timeout;
    fault::reach(Point::EffectBeforeCall, || vec![about(claimed)])
        .await
        .map_err(Failure::new)?;
    let call = AssertUnwindSafe(async { performer.call(raw).await }).catch_unwind();
    let result = match tokio::time::timeout(patience, call).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(Failure::new(format!(
            "the call panicked: {}",
            panic_words(panic.as_ref())
        ))),
        Err(_) => Err(Failure::new(format!(
            "no answer within {} ms",
            patience.as_millis()
        ))),
    };
    fault::reach(Point::EffectAfterCall, || vec![about(claimed)])
        .await
        .map_err(Failure::new)?;
    result
}

async fn postpone(
    durable: &PgPool,
    claimed: &Claimed,
    wait: Duration,
    failure: Failure,
    participant: &'static str,
) {
    let wait = until_next(wait, failure.retry_after);
    if let Some(asked) = failure.retry_after.filter(|asked| *asked > ASKED_MAX) {
        tracing::warn!(
            participant,
            saga = claimed.saga,
            kind = claimed.kind,
            asked_s = asked.as_secs(),
            wait_s = wait.as_secs(),
            "the other side asks to be left alone for longer than anybody waits"
        );
    }
    tracing::info!(
        participant,
        saga = claimed.saga,
        kind = claimed.kind,
        attempt = claimed.attempt,
        why = failure.why,
        wait_ms = wait.as_millis(),
        "a call gave no definite answer; it will be made again"
    );
    if fault::reach(Point::EffectBeforePostpone, || vec![about(claimed)])
        .await
        .is_err()
    {
        return;
    }
    let why: String = failure.why.replace('\0', "").chars().take(500).collect();
    let written = sqlx::query(POSTPONE)
        .bind(claimed.id)
        .bind(claimed.claim_no)
        .bind(millis(wait))
        .bind(why)
        .execute(durable)
        .await;
    if let Err(error) = written {
        // Its lease ends by itself, a little later than it would have.
        tracing::warn!(participant, saga = claimed.saga, %error, "cannot write down when to call again");
    }
}

/// Decides answers in batches.
async fn feed_back<P: Participant, S: Store<P>>(
    engine: Arc<Engine<P, S>>,
    pool: PgPool,
    mut answered: mpsc::Receiver<Answered>,
    stop: CancellationToken,
) {
    let mut batch = Vec::new();
    while answered.recv_many(&mut batch, 256).await > 0 {
        let entries = batch.iter().filter_map(entry::<P>).collect();
        if let Applied::Stopped = engine.apply(&pool, entries, &mut BTreeMap::new(), &stop).await {
            tracing::warn!(
                participant = P::NAME,
                answers = batch.len(),
                "stopped before answers were stored; the calls will be repeated"
            );
        }
        batch.clear();
    }
}

fn entry<P: Participant>(answered: &Answered) -> Option<Entry<P>> {
    let Answered { claimed, outcome, .. } = answered;
    let Ok(saga) = claimed.saga.parse::<P::Key>() else {
        tracing::error!(
            participant = P::NAME,
            saga = claimed.saga,
            "an effect names a saga that is no key; its row stays"
        );
        return None;
    };
    let number = u64::try_from(claimed.outcome).unwrap_or(0) + 1;
    let what = match P::Input::from_result(&claimed.kind, outcome) {
        Ok(Some(input)) => What::Input {
            input,
            saga: Some(saga),
        },
        Ok(None) => What::Undecodable {
            reason: format!("no input takes the outcome of a {}", claimed.kind),
        },
        Err(error) => What::Undecodable {
            reason: error.to_string(),
        },
    };
    let broken = matches!(what, What::Undecodable { .. });
    Some(Entry {
        what,
        origin: if broken {
            Origin::Broken {
                key: claimed.saga.clone(),
            }
        } else {
            Origin::Outcome {
                effect: claimed.id,
                claim_no: claimed.claim_no,
                exhausted: matches!(outcome, RawOutcome::Exhausted { .. }),
            }
        },
        id: saga_core::id::of_outcome(claimed.id, number),
        traceparent: claimed.traceparent.clone(),
    })
}

/// For fault points.
fn about(claimed: &Claimed) -> About {
    About::new(&claimed.saga, claimed.kind.as_str())
}

async fn count(durable: &PgPool, participant: &'static str) {
    let counted: Result<(i64, i64, i64), sqlx::Error> =
        sqlx::query_as(COUNT).bind(participant).fetch_one(durable).await;
    if let Ok((exhausted, in_retry, outstanding)) = counted {
        #[allow(clippy::cast_precision_loss)]
        for (name, number) in [
            (names::EFFECTS_EXHAUSTED, exhausted),
            (names::EFFECTS_IN_RETRY, in_retry),
            (names::EFFECTS_OUTSTANDING, outstanding),
        ] {
            metrics::gauge!(name, "participant" => participant).set(number as f64);
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
