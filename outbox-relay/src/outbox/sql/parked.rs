/// What is parked.
pub(crate) const PARKED: &str = "
select topic, case when whole then null else key end
  from saga.outbox_parked_key";

/// What a replay's window sends again.
pub(crate) const REPLAYING: &str = "
select topic, case when whole then null else key end
  from saga.outbox_parked_key where replay_win = $1";

/// How many events wait there, for a metric.
pub(crate) const PARKED_EVENTS: &str = "
select count(*) from (select from saga.outbox_parked_event limit 100001) as parked";

/// Parks a key, or a topic. `$3`..: topic, key, whether it is the whole topic; reason, detail, event, its type.
pub(crate) const PARK: &str = "
with lease as materialized (select from saga.relay where source = $1 and fence = $2 for share)
insert into saga.outbox_parked_key (topic, key, whole, reason, detail, event, type)
select $3, $4, $5, $6, $7, $8, $9 from lease
on conflict (topic, key, whole) do update
   set reason = excluded.reason, detail = excluded.detail, event = excluded.event, type = excluded.type,
       tried_at = clock_timestamp(), replay_requested = null, replay_win = null";

/// Copies events of the window `$3` at the positions `$4`. Those that were copied before a crash are there already.
pub(crate) const SET_ASIDE: &str = "
with lease as materialized (select from saga.relay where source = $1 and fence = $2 for share)
insert into saga.outbox_parked_event (position, win, topic, key, id, type, payload, headers, created_at)
select position, $3, aggregatetype, aggregateid, id, type, payload, headers,
       least(greatest(created_at, '0001-01-01 00:00:00+00'), '9999-12-31 00:00:00+00')
  from saga.outbox
 where slot = any('{0,1,2,3}') and position = any($4) and exists (select from lease)
on conflict (position) do nothing";

/// Whether events wait for the subject `k`. Those of a key that is parked by itself do not wait for its topic.
macro_rules! waits {
    () => {
        "case when k.whole
              then exists (select from saga.outbox_parked_event e
                            where e.topic = k.topic and not exists (
                                  select from saga.outbox_parked_key one
                                   where one.topic = e.topic and one.key = e.key and not one.whole offset 0))
              else exists (select from saga.outbox_parked_event e where e.topic = k.topic and e.key = k.key) end"
    };
}

/// What is to be sent again next, and whether there is any of it; `$1`: after how many milliseconds a topic is tried
/// again by itself.
pub(crate) const DUE: &str = concat!(
    "
select topic, case when whole then null else key end, ",
    waits!(),
    "
  from saga.outbox_parked_key k
 where replay_requested is not null
    or whole and coalesce(tried_at, parked_at) <= clock_timestamp() - $1 * interval '1 millisecond'
 order by coalesce(replay_requested, tried_at, parked_at) limit 1"
);

/// The subject need not be tried: `$3`..: topic, key, whether it is the whole topic; reason, detail. Its events, of which
/// there may be millions, stay as they are.
pub(crate) const REFUSE_AGAIN: &str = "
with lease as materialized (select from saga.relay where source = $1 and fence = $2 for share)
update saga.outbox_parked_key
   set tried_at = clock_timestamp(), replay_requested = null, reason = $6, detail = $7
 where topic = $3 and key = $4 and whole = $5 and exists (select from lease)";

/// Opens a window for a parked subject, and gives the first of its events their places. `$3`, `$4`: number and snapshot of
/// the window before; `$5`..: topic, key, whether it is the whole topic; how many events at most.
///
/// Two arms, each in the order of an index: the first of millions are found without a look at the others. `offset 0` has the
/// keys that are parked by themselves looked up, instead of compared with each event, all ten thousand of them.
pub(crate) const OPEN_REPLAY: &str = "
with due as materialized (
    select from saga.outbox_parked_key where topic = $5 and key = $6 and whole = $7 for update
), lease as materialized (
    select source, epoch from saga.relay
     where source = $1 and fence = $2 and exists (select from due) for share
), opened as (
    insert into saga.relay_window (source, win, epoch, fence, snap_a, snap_b, replay)
    select source, greatest($3 + 1, (extract(epoch from clock_timestamp()) * 1e6)::bigint),
           epoch, $2, $4::text::pg_snapshot, $4::text::pg_snapshot, true
      from lease
    returning win, epoch, snap_a::text, snap_b::text, recovery, replay
), marked as (
    update saga.outbox_parked_key set replay_win = opened.win
      from opened where topic = $5 and key = $6 and whole = $7
), first as materialized (
    (select e.position, e.win from saga.outbox_parked_event e
      where $7 and e.topic = $5 and not exists (
            select from saga.outbox_parked_key one
             where one.topic = e.topic and one.key = e.key and not one.whole offset 0)
      order by e.win, e.position limit $8)
    union all
    (select e.position, e.win from saga.outbox_parked_event e
      where not $7 and e.topic = $5 and e.key = $6
      order by e.win, e.position limit $8)
), placed as materialized (
    select position, row_number() over (order by win, position) as place from first
), stamped as (
    update saga.outbox_parked_event e set replay_win = opened.win, replay_position = placed.place
      from placed, opened where e.position = placed.position
)
select win, epoch, snap_a, snap_b, recovery, replay from opened";

/// A piece of a replay: the window, after which place, how many, about how many bytes.
pub(crate) const READ_REPLAY: &str = "
select * from (
    select replay_position, id, topic, key, type, payload, headers::text,
           least(greatest(created_at, '0001-01-01 00:00:00+00'), '9999-12-31 00:00:00+00') as created_at,
           sum(coalesce(octet_length(payload), 0) + pg_column_size(headers)) over in_order as bytes_so_far,
           coalesce(octet_length(payload), 0) + pg_column_size(headers) as bytes
      from (select * from saga.outbox_parked_event
             where replay_win = $1 and replay_position > $2 order by replay_position limit $3) as rows
    window in_order as (order by replay_position rows unbounded preceding)
) as summed
where bytes_so_far - bytes < $4
order by replay_position";

/// Who an event is that a replay cannot send.
pub(crate) const REPLAYED_EVENT: &str = "
select id, topic, key, type from saga.outbox_parked_event where replay_win = $1 and replay_position = $2";

/// What the broker has of a replay is done with: up to the place `$4`, and the places `$5`; `$6` of them at most.
pub(crate) const DROP_SENT: &str = "
with lease as materialized (
    select from saga.relay where source = $1 and fence = $2 for share
), sent as materialized (
    (select position from saga.outbox_parked_event
      where replay_win = $3 and replay_position <= $4 order by replay_position limit $6)
    union
    (select position from saga.outbox_parked_event where replay_win = $3 and replay_position = any($5))
)
delete from saga.outbox_parked_event
 where position in (select position from sent) and exists (select from lease)";

/// Events of a replay wait on, those of the key `$4` or all of them; the last `$5` of them: after a crash in between, what
/// is sent again comes before what was put back.
pub(crate) const PUT_BACK: &str = "
with lease as materialized (
    select from saga.relay where source = $1 and fence = $2 for share
), piece as materialized (
    select position from saga.outbox_parked_event
     where replay_win = $3 and ($4::text is null or key = $4) order by replay_position desc limit $5
)
update saga.outbox_parked_event set replay_win = null, replay_position = null
 where position in (select position from piece) and exists (select from lease)";

/// A replay is refused, and waits on.
pub(crate) const END_REFUSED: &str = "
with lease as materialized (
    select from saga.relay where source = $1 and fence = $2 for share
)
update saga.outbox_parked_key
   set replay_win = null, replay_requested = null, tried_at = clock_timestamp(),
       reason = $4, detail = $5, event = $6, type = $7
 where replay_win = $3 and exists (select from lease)";

/// All of a replay has gone out. The subject is free, if there is no more of it; else it goes on, after those that were
/// asked for before.
pub(crate) const END_REPLAY: &str = concat!(
    "
with lease as materialized (
    select from saga.relay where source = $1 and fence = $2 for share
), goes_on as (
    update saga.outbox_parked_key k set replay_win = null, replay_requested = clock_timestamp()
     where replay_win = $3 and exists (select from lease) and ",
    waits!(),
    "
)
delete from saga.outbox_parked_key k
 where replay_win = $3 and exists (select from lease) and not ",
    waits!(),
    "
returning topic, case when whole then null else key end"
);
