use serde::Serialize;
use sqlx::PgConnection;

/// One row per relay that has ever served the outbox: one, or none.
const RELAY: &str = "\
select source, owner, fence, expires_at > clock_timestamp() as held,
       case when isfinite(expires_at) then (extract(epoch from expires_at - clock_timestamp()) * 1000)::int8 end as lease_ms,
       epoch, acked_win,
       (extract(epoch from clock_timestamp() - acked_at) * 1000)::int8 as acked_ms_ago
  from saga.relay";

/// Committed, and not acknowledged by the broker: what the acknowledged snapshot does not see, by the index on xid, those of
/// the oldest transactions first. Without a relay nothing was acknowledged. No clock has the times at the ends of a calendar.
const WAITING: &str = "\
with acked as (
    select coalesce((select acked_snap from saga.relay limit 1), '1:1:'::pg_snapshot) as snap
), waiting as (
    (select created_at, aggregatetype, aggregateid, type, position from saga.outbox
      where xid = any(array(select pg_snapshot_xip(snap) from acked)) limit 100001)
    union all
    (select created_at, aggregatetype, aggregateid, type, position from saga.outbox
      where xid >= pg_snapshot_xmax((select snap from acked)) order by xid limit 100001)
    limit 100001
)
select (select count(*) from waiting),
       (extract(epoch from clock_timestamp()
           - least(greatest(w.created_at, '0001-01-01 00:00:00+00'), '9999-12-31 00:00:00+00')) * 1000)::int8,
       w.aggregatetype, w.aggregateid, w.type
  from (select * from waiting order by created_at, position limit 1) as w";

const SIZE: &str = "\
select sum(pg_total_relation_size(format('saga.outbox_%s', slot)::regclass))::bigint from generate_series(0, 3) slot";

const PARKED: &str = "select count(*) from (select from saga.outbox_parked_event limit 100001) as parked";

pub(super) const STATEMENTS: &[(&str, &str)] = &[
    ("relay", RELAY),
    ("waiting", WAITING),
    ("size", SIZE),
    ("parked", PARKED),
];

/// More are not counted.
pub(crate) const COUNTED_MAX: i64 = 100_000;

/// How one service's outbox does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Outbox {
    pub(crate) service: String,
    pub(crate) relay: Option<Relay>,
    pub(crate) waiting: i64,
    /// Events that cannot be sent, or wait behind one.
    pub(crate) parked: i64,
    pub(crate) oldest: Option<Oldest>,
    pub(crate) bytes: i64,
    /// Why nothing goes out, as the relay says.
    pub(crate) trouble: Option<String>,
}

/// Who publishes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub(crate) struct Relay {
    pub(crate) source: String,
    pub(crate) owner: Option<String>,
    pub(crate) fence: i64,
    pub(crate) held: bool,
    pub(crate) lease_ms: Option<i64>,
    pub(crate) epoch: i64,
    pub(crate) acked_win: i64,
    pub(crate) acked_ms_ago: Option<i64>,
}

/// The event that waits the longest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Oldest {
    pub(crate) age_ms: i64,
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) r#type: String,
}

/// Looks at one service's outbox.
pub(crate) async fn status(connection: &mut PgConnection, service: &str) -> Result<Outbox, sqlx::Error> {
    let relay = sqlx::query_as(RELAY).fetch_optional(&mut *connection).await?;
    type Waiting = (i64, i64, String, String, String);
    let waiting: Option<Waiting> = sqlx::query_as(WAITING).fetch_optional(&mut *connection).await?;
    let bytes = sqlx::query_scalar(SIZE).fetch_one(&mut *connection).await?;
    let parked = sqlx::query_scalar(PARKED).fetch_one(&mut *connection).await?;
    let count = waiting.as_ref().map_or(0, |waiting| waiting.0);
    Ok(Outbox {
        service: service.to_owned(),
        relay,
        waiting: count,
        parked,
        oldest: waiting.map(|(_, age_ms, topic, key, r#type)| Oldest {
            age_ms,
            topic,
            key,
            r#type,
        }),
        bytes,
        trouble: None,
    })
}
