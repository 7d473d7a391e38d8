//! Timers that are due become inputs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quadrille_process::fault::{self, Point};
use saga_core::{Inputs, Participant};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::engine::batch::{self, Entry, Origin, What};
use crate::engine::{Applied, Engine};
use crate::error::Backoff;
use crate::metrics as names;
use crate::pause::{self, Pauses};
use crate::store::Store;

// Nothing is locked here: the transaction that decides checks under the saga's lock that the timer is still
// set. Two processes that find the same timer both try, and one finds it gone.
const DUE: &str = "\
select id, saga, name, traceparent from saga.timer t
 where participant = $1 and due_at <= statement_timestamp()
   and not exists (select 1 from saga.parked_key k where k.participant = t.participant and k.key = t.saga)
 order by due_at limit 256";

const COUNT: &str = "\
select count(*), (extract(epoch from clock_timestamp() - min(due_at)) * 1000)::int8 from saga.timer where participant = $1";

/// The statements of this module.
pub(crate) const STATEMENTS: &[(&str, &str)] = &[("due", DUE), ("count", COUNT)];

/// How late a timer may be. A look at the index costs a tenth of a millisecond, so nobody has to ring.
const POLL: Duration = Duration::from_millis(200);

/// Fires timers until it is told to stop.
pub(crate) async fn run<P: Participant, S: Store<P>>(
    engine: Arc<Engine<P, S>>,
    pool: PgPool,
    pauses: Pauses,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::of_infrastructure();
    let mut counted: Option<Instant> = None;
    while !stop.is_cancelled() {
        let wait = if pauses.is_paused(P::NAME, pause::ALL) {
            POLL
        } else {
            match fire(&engine, &pool, &stop).await {
                Ok(true) => Duration::ZERO,
                Ok(false) => {
                    backoff.reset();
                    POLL
                }
                Err(error) => {
                    tracing::warn!(participant = P::NAME, %error, "cannot look for timers that are due");
                    backoff.next_wait()
                }
            }
        };
        if counted.is_none_or(|at| at.elapsed() > Duration::from_secs(5)) {
            counted = Some(Instant::now());
            count::<P>(&pool).await;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Fires what is due; says whether there may be more.
async fn fire<P: Participant, S: Store<P>>(
    engine: &Engine<P, S>,
    pool: &PgPool,
    stop: &CancellationToken,
) -> Result<bool, sqlx::Error> {
    let due: Vec<(Uuid, String, String, Option<String>)> =
        sqlx::query_as(DUE).bind(P::NAME).fetch_all(pool).await?;
    let more = due.len() == 256;
    let entries: Vec<Entry<P>> = due
        .into_iter()
        .map(|(id, saga, name, traceparent)| entry(id, saga, name, traceparent))
        .collect();
    if entries.is_empty() {
        return Ok(false);
    }
    if fault::reach(Point::TimerBeforeFire, || batch::about(&entries))
        .await
        .is_err()
    {
        return Ok(false);
    }
    match engine.apply(pool, entries, &mut BTreeMap::new(), stop).await {
        Applied::Done { .. } => Ok(more),
        Applied::NotOwner | Applied::Stopped => Ok(false),
    }
}

fn entry<P: Participant>(id: Uuid, saga: String, name: String, traceparent: Option<String>) -> Entry<P> {
    let (what, origin) = match (saga.parse::<P::Key>(), P::Input::from_timer(&name)) {
        (Ok(key), Some(input)) => (
            What::Input {
                input,
                saga: Some(key),
            },
            Origin::Timer { saga, name },
        ),
        _ => (
            What::Undecodable {
                reason: format!("no input takes timer {name} of {saga}; it was set by another build"),
            },
            Origin::Broken { key: saga },
        ),
    };
    Entry {
        what,
        origin,
        id,
        traceparent,
    }
}

async fn count<P: Participant>(pool: &PgPool) {
    let counted: Result<(i64, Option<i64>), sqlx::Error> =
        sqlx::query_as(COUNT).bind(P::NAME).fetch_one(pool).await;
    let Ok((set, overdue_ms)) = counted else { return };
    #[allow(clippy::cast_precision_loss, clippy::float_arithmetic)]
    {
        metrics::gauge!(names::TIMERS_SET, "participant" => P::NAME).set(set as f64);
        let overdue = overdue_ms.unwrap_or(0).max(0) as f64 / 1000.0;
        metrics::gauge!(names::TIMER_OVERDUE_SECONDS, "participant" => P::NAME).set(overdue);
    }
}
