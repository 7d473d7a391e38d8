//! Effects and timers as rows: what is outstanding, what fired, what was answered.

use std::collections::{BTreeMap, BTreeSet};

use saga_core::Participant;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::engine::batch::{Entry, Origin};
use crate::engine::decide::{NewEffect, TimerChange};
use crate::error::Error;

// Planned on an empty table, `participant = $1` alone looks selective enough, and every timer of the participant would be
// read and compared. As a column of the list, behind a fence, it is one key with the other two.
macro_rules! timers {
    () => {
        "(select $1::text as participant, saga, name, id
          from unnest($2::text[], $3::text[], $4::uuid[]) as u (saga, name, id) offset 0) as n"
    };
}

const LOCK_TIMERS: &str = concat!(
    "select t.id from saga.timer t join ",
    timers!(),
    " on t.participant = n.participant and t.saga = n.saga and t.name = n.name and t.id = n.id
 order by t.saga, t.name for update of t"
);

const LOCK_CLAIMS: &str = "\
select e.id, e.claim_no from saga.effect e
  join unnest($1::uuid[], $2::int8[]) as c (id, claim_no) on c.id = e.id and c.claim_no = e.claim_no
 order by e.id for update of e";

const DELETE_TIMERS: &str = concat!(
    "delete from saga.timer t using ",
    timers!(),
    " where t.participant = n.participant and t.saga = n.saga and t.name = n.name and t.id = n.id"
);

const DELETE_ANSWERED: &str = "delete from saga.effect where id = any($1)";

const KEEP_EXHAUSTED: &str = "update saga.effect set due_at = null, outcome = outcome + 1 where id = any($1)";

// An exhausted effect gives way to the one that the decision puts in its place; one that is still under way
// does not, and the count of rows tells.
const WRITE_EFFECTS: &str = "\
insert into saga.effect as e (id, participant, saga, kind, payload, traceparent)
select id, $1, saga, kind, payload, traceparent
  from unnest($2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::text[]) as n (id, saga, kind, payload, traceparent)
    on conflict (participant, saga) do update
       set id = excluded.id, kind = excluded.kind, payload = excluded.payload, traceparent = excluded.traceparent,
           created_at = excluded.created_at, due_at = excluded.due_at, claim_no = 0, attempt = 0,
           first_called_at = null, last_error = null, outcome = 0
     where e.due_at is null";

// It fires on the database's clock, so it is set on that clock: two processes, and the same process after its clock was
// corrected, mean the same moment.
const SET_TIMERS: &str = "\
insert into saga.timer as t (participant, saga, name, id, due_at, traceparent)
select $1, saga, name, id, clock_timestamp() + after_us * interval '1 microsecond', traceparent
  from unnest($2::text[], $3::text[], $4::uuid[], $5::int8[], $6::text[]) as n (saga, name, id, after_us, traceparent)
    on conflict (participant, saga, name) do update
       set id = excluded.id, due_at = excluded.due_at, traceparent = excluded.traceparent";

const CANCEL_TIMERS: &str = "\
delete from saga.timer t
 using (select $1::text as participant, saga, name from unnest($2::text[], $3::text[]) as u (saga, name) offset 0) as n
 where t.participant = n.participant and t.saga = n.saga and t.name = n.name";

/// The statements of this module.
pub(crate) const STATEMENTS: &[(&str, &str)] = &[
    ("lock_timers", LOCK_TIMERS),
    ("lock_claims", LOCK_CLAIMS),
    ("delete_timers", DELETE_TIMERS),
    ("delete_answered", DELETE_ANSWERED),
    ("keep_exhausted", KEEP_EXHAUSTED),
    ("write_effects", WRITE_EFFECTS),
    ("set_timers", SET_TIMERS),
    ("cancel_timers", CANCEL_TIMERS),
];

/// Timers, column by column.
#[derive(Debug, Default)]
struct Timers<'e> {
    sagas: Vec<&'e str>,
    names: Vec<&'e str>,
    ids: Vec<Uuid>,
}

impl<'e> Timers<'e> {
    fn extend<P: Participant>(&mut self, entry: &'e Entry<P>) {
        if let Origin::Timer { saga, name } = &entry.origin {
            self.sagas.push(saga);
            self.names.push(name);
            self.ids.push(entry.id);
        }
    }
}

/// Entries that count no more: timers that were moved or cancelled, answers under an older claim. Locks the
/// rows of the others.
pub(crate) async fn void<P: Participant>(
    tx: &mut PgConnection,
    entries: &[Entry<P>],
) -> Result<BTreeSet<usize>, sqlx::Error> {
    let mut void = BTreeSet::new();
    let mut timers = Timers::default();
    for entry in entries {
        timers.extend(entry);
    }
    if !timers.ids.is_empty() {
        let there: Vec<Uuid> = sqlx::query_scalar(LOCK_TIMERS)
            .bind(P::NAME)
            .bind(timers.sagas)
            .bind(timers.names)
            .bind(timers.ids)
            .fetch_all(&mut *tx)
            .await?;
        let there: BTreeSet<Uuid> = there.into_iter().collect();
        void.extend(
            entries
                .iter()
                .enumerate()
                .filter(|(_, entry)| {
                    matches!(entry.origin, Origin::Timer { .. }) && !there.contains(&entry.id)
                })
                .map(|(i, _)| i),
        );
    }
    let claims: Vec<(usize, Uuid, i64)> = entries
        .iter()
        .enumerate()
        .filter_map(|(i, entry)| match entry.origin {
            Origin::Outcome { effect, claim_no, .. } => Some((i, effect, claim_no)),
            _ => None,
        })
        .collect();
    if !claims.is_empty() {
        let ids: Vec<Uuid> = claims.iter().map(|(_, id, _)| *id).collect();
        let numbers: Vec<i64> = claims.iter().map(|(_, _, claim_no)| *claim_no).collect();
        // By id and number: one batch may hold the answers of two claims of the same effect.
        let there: Vec<(Uuid, i64)> = sqlx::query_as(LOCK_CLAIMS)
            .bind(ids)
            .bind(numbers)
            .fetch_all(&mut *tx)
            .await?;
        let there: BTreeSet<(Uuid, i64)> = there.into_iter().collect();
        void.extend(
            claims
                .iter()
                .filter(|(_, id, claim_no)| !there.contains(&(*id, *claim_no)))
                .map(|(i, _, _)| *i),
        );
    }
    Ok(void)
}

/// Takes what was decided off the books. An exhausted effect stays, out of the executor's sight, for an
/// operator. A timer or an answer whose key was parked stays as it is: it comes again after the replay.
pub(crate) async fn consume<P: Participant>(
    tx: &mut PgConnection,
    entries: &[Entry<P>],
    stays: impl Fn(usize) -> bool,
) -> Result<(), sqlx::Error> {
    let (mut fired, mut answered, mut exhausted) = (Timers::default(), Vec::new(), Vec::new());
    for entry in entries
        .iter()
        .enumerate()
        .filter(|(i, _)| !stays(*i))
        .map(|(_, entry)| entry)
    {
        match entry.origin {
            Origin::Timer { .. } => fired.extend(entry),
            Origin::Outcome {
                effect,
                exhausted: false,
                ..
            } => answered.push(effect),
            Origin::Outcome {
                effect,
                exhausted: true,
                ..
            } => exhausted.push(effect),
            Origin::Record { .. } | Origin::Parked { .. } | Origin::Command(_) | Origin::Broken { .. } => {}
        }
    }
    if !fired.ids.is_empty() {
        sqlx::query(DELETE_TIMERS)
            .bind(P::NAME)
            .bind(fired.sagas)
            .bind(fired.names)
            .bind(fired.ids)
            .execute(&mut *tx)
            .await?;
    }
    if !answered.is_empty() {
        sqlx::query(DELETE_ANSWERED)
            .bind(answered)
            .execute(&mut *tx)
            .await?;
    }
    if !exhausted.is_empty() {
        sqlx::query(KEEP_EXHAUSTED)
            .bind(exhausted)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Writes effects, for the executor to find after the commit.
pub(crate) async fn write_effects(
    tx: &mut PgConnection,
    participant: &'static str,
    effects: &[NewEffect],
) -> Result<(), Error> {
    let Some(first) = effects.first() else {
        return Ok(());
    };
    let mut sagas = BTreeSet::new();
    if let Some(second) = effects.iter().find(|effect| !sagas.insert(&effect.saga)) {
        return Err(Error::EffectOutstanding {
            participant,
            saga: second.saga.clone(),
            kind: second.kind,
        });
    }
    let written = sqlx::query(WRITE_EFFECTS)
        .bind(participant)
        .bind(effects.iter().map(|effect| effect.id).collect::<Vec<_>>())
        .bind(
            effects
                .iter()
                .map(|effect| effect.saga.as_str())
                .collect::<Vec<_>>(),
        )
        .bind(effects.iter().map(|effect| effect.kind).collect::<Vec<_>>())
        .bind(
            effects
                .iter()
                .map(|effect| effect.payload.as_slice())
                .collect::<Vec<_>>(),
        )
        .bind(
            effects
                .iter()
                .map(|effect| effect.traceparent.as_deref())
                .collect::<Vec<_>>(),
        )
        .execute(tx)
        .await
        .map_err(|source| Error::Database {
            participant,
            doing: "write effects",
            source,
        })?
        .rows_affected();
    if written == effects.len() as u64 {
        Ok(())
    } else {
        Err(Error::EffectOutstanding {
            participant,
            saga: first.saga.clone(),
            kind: first.kind,
        })
    }
}

/// Sets, moves and cancels timers.
pub(crate) async fn write_timers(
    tx: &mut PgConnection,
    participant: &'static str,
    timers: &BTreeMap<(String, &'static str), TimerChange>,
) -> Result<(), sqlx::Error> {
    let (mut cancelled_sagas, mut cancelled_names) = (Vec::new(), Vec::new());
    let (mut sagas, mut names, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    let (mut afters, mut contexts) = (Vec::new(), Vec::new());
    for ((saga, name), change) in timers {
        match change {
            TimerChange::Cancel => {
                cancelled_sagas.push(saga.as_str());
                cancelled_names.push(*name);
            }
            TimerChange::Set {
                id,
                after_us,
                traceparent,
            } => {
                sagas.push(saga.as_str());
                names.push(*name);
                ids.push(*id);
                afters.push(*after_us);
                contexts.push(traceparent.as_deref());
            }
        }
    }
    if !cancelled_sagas.is_empty() {
        sqlx::query(CANCEL_TIMERS)
            .bind(participant)
            .bind(cancelled_sagas)
            .bind(cancelled_names)
            .execute(&mut *tx)
            .await?;
    }
    if !sagas.is_empty() {
        sqlx::query(SET_TIMERS)
            .bind(participant)
            .bind(sagas)
            .bind(names)
            .bind(ids)
            .bind(afters)
            .bind(contexts)
            .execute(tx)
            .await?;
    }
    Ok(())
}
