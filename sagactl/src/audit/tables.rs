//! What the services' tables say. Every statement is read-only.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::finding::{Class, Finding};
use super::life::{Events, Life, Notes, Order};
use crate::moment;

/// An audit of a long time reads for longer than an operator waits.
const PATIENCE: &str = "select set_config('statement_timeout', '30min', false)";

const PLACES: &str = "select topic, partition, next_offset from saga.consumer_offset";

// By way of the index on (status, created_at).
const ORDERS: &str = "\
select id, status, money, method, total_minor, currency, created_at, ended_at < now() - interval '14 days'
  from orders
 where status = any('{pending,confirmed,rejected,cancelled,refunded}') and created_at >= $1
   and get_byte(uuid_send(id), 15) % $2 = $3";

const ORDERS_OF: &str = "\
select id, status, money, method, total_minor, currency, created_at, ended_at < now() - interval '14 days'
  from orders where id = any($1) and status is not null";

const HOLDS_OF: &str = "select order_id, state from hold where order_id = any($1)";

const PAYMENTS_OF: &str =
    "select order_id, state, amount_minor, currency from payment where order_id = any($1)";

const DEADLINES: &str = "select saga, participant = 'order' and name = 'deadline' from saga.timer";

const CALLS: &str = "select saga from saga.effect";

const PARKED: &str = "\
select key from saga.parked_key union all select distinct key from saga.outbox_parked_event";

const DISCARDED: &str = "\
select distinct key from saga.outbox_discarded
 union all
select split_part(subject, '/', 2) from saga.operator_action where action = 'parked.discard'";

/// Everything in the outbox, and whether the broker has it as far as the relay knows.
const OUTBOX: &str = "\
with acked as materialized (
    select coalesce((select acked_snap from saga.relay limit 1), '1:1:'::pg_snapshot) as snap
)
select o.aggregatetype, o.aggregateid, o.type, o.position, pg_visible_in_snapshot(o.xid, acked.snap),
       (extract(epoch from clock_timestamp() - o.created_at) * 1000)::int8
  from saga.outbox o cross join acked
 where not exists (select from saga.outbox_parked_event e where e.position = o.position)
   and not exists (select from saga.outbox_discarded d where d.position = o.position)";

const SNAPSHOT: &str = "select pg_current_snapshot()::text";

/// Whether something that was committed then is still to be acknowledged. By way of the index on xid.
const WAITING: &str = "\
with acked as materialized (
    select coalesce((select acked_snap from saga.relay limit 1), '1:1:'::pg_snapshot) as snap
)
select exists (
    select from acked, saga.outbox o
     where o.xid >= pg_snapshot_xmin(acked.snap) and not pg_visible_in_snapshot(o.xid, acked.snap)
       and pg_visible_in_snapshot(o.xid, $1::text::pg_snapshot))";

// Timers and calls of a saga whose key is parked wait with it for a person: they are not late.
const LATE_TIMERS: &str = "\
select participant, saga, name, (extract(epoch from clock_timestamp() - due_at) * 1000)::int8
  from saga.timer t where due_at < clock_timestamp() - $1 * interval '1 second'
   and not exists (select from saga.parked_key k where k.participant = t.participant and k.key = t.saga)
 order by due_at";

const LATE_CALLS: &str = "\
select participant, saga, kind, (extract(epoch from clock_timestamp() - due_at) * 1000)::int8
  from saga.effect e where due_at < clock_timestamp() - $1 * interval '1 second'
   and not exists (select from saga.parked_key k where k.participant = e.participant and k.key = e.saga)
 order by due_at";

const WAITS_FOR_PEOPLE: &str = "\
select (select count(*) from saga.parked_key),
       (select count(*) from saga.outbox_parked_key),
       (select count(*) from saga.effect where due_at is null)";

const PAUSED: &str =
    "select participant || case when what = '*' then '' else '/' || what end from saga.pause";

pub(super) const STATEMENTS: &[(&str, &str)] = &[
    ("patience", PATIENCE),
    ("places", PLACES),
    ("deadlines", DEADLINES),
    ("calls", CALLS),
    ("parked", PARKED),
    ("discarded", DISCARDED),
    ("outbox", OUTBOX),
    ("snapshot", SNAPSHOT),
    ("waiting", WAITING),
    ("late_timers", LATE_TIMERS),
    ("late_calls", LATE_CALLS),
    ("waits_for_people", WAITS_FOR_PEOPLE),
    ("paused", PAUSED),
];

/// Those that ask for a service's own tables, by the service.
pub(super) const OF_SERVICES: &[(&str, &str, &str)] = &[
    ("order", "orders", ORDERS),
    ("order", "orders_of", ORDERS_OF),
    ("inventory", "holds_of", HOLDS_OF),
    ("payment", "payments_of", PAYMENTS_OF),
];

/// The orders of one slice, by id.
pub(super) type Lives = HashMap<Uuid, Life>;

/// Every n-th order, by the last byte of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) of: u32,
    pub(super) number: u32,
}

impl Default for Slice {
    fn default() -> Self {
        Self { of: 1, number: 0 }
    }
}

impl Slice {
    pub(super) fn has(self, id: Uuid) -> bool {
        u32::from(id.as_bytes()[15]) % self.of == self.number
    }

    pub(super) fn key(self, key: &str) -> Option<Uuid> {
        key.parse().ok().filter(|id| self.has(*id))
    }
}

/// What is on its way in one outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OnTheWay {
    pub(super) events: u64,
    pub(super) oldest_ms: i64,
}

pub(super) async fn be_patient(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(PATIENCE).execute(connection).await.map(drop)
}

/// The next offset of each partition that this service reads.
pub(super) async fn places(
    connection: &mut PgConnection,
) -> Result<BTreeMap<(String, i32), i64>, sqlx::Error> {
    let rows: Vec<(String, i32, i64)> = sqlx::query_as(PLACES).fetch_all(connection).await?;
    Ok(rows
        .into_iter()
        .map(|(topic, partition, next)| ((topic, partition), next))
        .collect())
}

type OrderRow = (
    Uuid,
    String,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<String>,
    DateTime<Utc>,
    Option<bool>,
);

/// Orders that were placed since then.
pub(super) async fn orders(
    connection: &mut PgConnection,
    lives: &mut Lives,
    since: DateTime<Utc>,
    slice: Slice,
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query_as(ORDERS)
        .bind(since)
        .bind(i32::try_from(slice.of).unwrap_or(1))
        .bind(i32::try_from(slice.number).unwrap_or(0))
        .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        note_order(lives, row, since)?;
    }
    Ok(())
}

fn note_order(lives: &mut Lives, row: OrderRow, since: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let (id, status, money, method, total, currency, created_at, long_ended) = row;
    let life = lives.entry(id).or_default();
    life.order = match (status.as_str(), money.as_deref()) {
        ("cancelled", Some("nothing")) => Order::CancelledNothing,
        ("cancelled", Some("owed")) => Order::CancelledOwed,
        (status, _) => status.parse().map_err(unknown)?,
    };
    life.total_minor = total.unwrap_or_default();
    life.currency = letters(currency.as_deref());
    for (note, holds) in [
        (Notes::WHOLE, created_at >= since),
        (Notes::CARD, method.as_deref() == Some("card")),
        (Notes::LONG_ENDED, long_ended == Some(true)),
    ] {
        if holds {
            life.notes.add(note);
        }
    }
    Ok(())
}

/// Looks orders up that a topic spoke of.
pub(super) async fn orders_of(
    connection: &mut PgConnection,
    lives: &mut Lives,
    ids: &[Uuid],
    since: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query_as(ORDERS_OF).bind(ids).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        note_order(lives, row, since)?;
    }
    Ok(())
}

pub(super) async fn holds_of(
    connection: &mut PgConnection,
    lives: &mut Lives,
    ids: &[Uuid],
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query_as(HOLDS_OF).bind(ids).fetch(connection);
    while let Some((id, state)) = rows.try_next().await? {
        let (id, state): (Uuid, String) = (id, state);
        if let Some(life) = lives.get_mut(&id) {
            life.hold = state.parse().map_err(unknown)?;
        }
    }
    Ok(())
}

/// After the orders: their amounts are compared.
pub(super) async fn payments_of(
    connection: &mut PgConnection,
    lives: &mut Lives,
    ids: &[Uuid],
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query_as(PAYMENTS_OF).bind(ids).fetch(connection);
    while let Some((id, state, amount, currency)) = rows.try_next().await? {
        let (id, state, amount, currency): (Uuid, String, Option<i64>, Option<String>) =
            (id, state, amount, currency);
        if let Some(life) = lives.get_mut(&id) {
            life.payment = state.parse().map_err(unknown)?;
            let same = amount.is_none_or(|amount| {
                (amount, letters(currency.as_deref())) == (life.total_minor, life.currency)
            });
            if !same && life.order != Order::Absent {
                life.notes.add(Notes::OTHER_AMOUNT);
            }
        }
    }
    Ok(())
}

/// What keys wait for, and which of them are parked or had something thrown away.
pub(super) async fn notes(
    connection: &mut PgConnection,
    mut add: impl FnMut(&str, Notes),
) -> Result<(), sqlx::Error> {
    {
        let mut rows = sqlx::query_as(DEADLINES).fetch(&mut *connection);
        while let Some((key, is_deadline)) = rows.try_next().await? {
            let (key, is_deadline): (String, bool) = (key, is_deadline);
            add(
                &key,
                if is_deadline {
                    Notes::DEADLINE
                } else {
                    Notes::WAITS
                },
            );
        }
    }
    for (statement, note) in [
        (CALLS, Notes::WAITS),
        (PARKED, Notes::PARKED),
        (DISCARDED, Notes::DISCARDED),
    ] {
        let mut rows = sqlx::query_scalar(statement).fetch(&mut *connection);
        while let Some(key) = rows.try_next().await? {
            let key: String = key;
            add(&key, note);
        }
    }
    Ok(())
}

/// What stands in an outbox. `elsewhere` is told of acknowledged events that are of no order: topic and position.
pub(super) async fn outbox(
    connection: &mut PgConnection,
    lives: &mut Lives,
    slice: Slice,
    mut elsewhere: impl FnMut(String, i64),
) -> Result<OnTheWay, sqlx::Error> {
    let mut on_the_way = OnTheWay::default();
    let mut rows = sqlx::query_as(OUTBOX).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let (topic, key, name, position, acknowledged, age_ms): (String, String, String, i64, bool, i64) =
            row;
        if !acknowledged {
            on_the_way.events += 1;
            on_the_way.oldest_ms = on_the_way.oldest_ms.max(age_ms);
        }
        let event = Events::of(&name);
        match (event.is_empty(), acknowledged) {
            (true, true) => elsewhere(topic, position),
            (true, false) => {}
            (false, acknowledged) => {
                let Some(id) = slice.key(&key) else { continue };
                let life = lives.entry(id).or_default();
                if acknowledged {
                    life.acknowledged.add(event);
                } else {
                    life.notes.add(Notes::UNPUBLISHED);
                }
            }
        }
    }
    Ok(on_the_way)
}

/// What is committed now.
pub(super) async fn snapshot(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar(SNAPSHOT).fetch_one(connection).await
}

/// Whether something that was committed then is still to be acknowledged by the broker.
pub(super) async fn is_waiting(connection: &mut PgConnection, then: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(WAITING).bind(then).fetch_one(connection).await
}

/// Deadlines that passed so many seconds ago and did not fire, and calls that nobody makes.
pub(super) async fn late(
    connection: &mut PgConnection,
    grace_s: i64,
    mut found: impl FnMut(Finding),
) -> Result<(), sqlx::Error> {
    for (statement, name) in [(LATE_TIMERS, "deadline"), (LATE_CALLS, "call")] {
        let mut rows = sqlx::query_as(statement).bind(grace_s).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            let (participant, saga, what, late_ms): (String, String, String, i64) = row;
            let late = moment::span(TimeDelta::milliseconds(late_ms));
            let detail = match name {
                "deadline" => format!("{participant}: {what} was due {late} ago and has not fired"),
                _ => format!("{participant}: {what} has been due for {late} and nobody calls"),
            };
            found(Finding::new(
                Class::Overdue,
                name,
                format!("order {saga}"),
                detail,
            ));
        }
    }
    Ok(())
}

/// Keys parked with a participant, keys and topics parked at the relay, calls that are exhausted.
pub(super) async fn waits_for_people(connection: &mut PgConnection) -> Result<(i64, i64, i64), sqlx::Error> {
    sqlx::query_as(WAITS_FOR_PEOPLE).fetch_one(connection).await
}

/// What is paused.
pub(super) async fn paused(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(PAUSED).fetch_all(connection).await
}

fn letters(currency: Option<&str>) -> [u8; 3] {
    currency
        .and_then(|currency| currency.as_bytes().try_into().ok())
        .unwrap_or_default()
}

fn unknown(error: super::life::Unknown) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
