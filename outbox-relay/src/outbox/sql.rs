//! Every statement that the relay runs. A test PREPAREs each of them as the relay's role.

use super::growth;

/// Big windows, piece by piece.
pub(crate) mod pieces;

/// What cannot be sent, and what waits behind it.
pub(crate) mod parked;

/// Settings of each connection. Tables that are empty most of the time have no useful statistics, so the
/// planner is told what to do: read by index, in the index's order. What waits for a lock sees afterwards what was committed
/// meanwhile, whatever the database's default is. A relay that is frozen while it holds
/// a leaf's lock loses its session soon.
pub(crate) const CONFIGURE: &str = "
select set_config('synchronous_commit', 'on', false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('enable_seqscan', 'off', false),
       set_config('enable_bitmapscan', 'off', false),
       set_config('enable_sort', 'off', false),
       set_config('plan_cache_mode', 'force_generic_plan', false),
       set_config('max_parallel_workers_per_gather', '0', false),
       set_config('jit', 'off', false),
       set_config('work_mem', '16MB', false),
       set_config('statement_timeout', $1, false),
       set_config('lock_timeout', '2s', false),
       set_config('idle_in_transaction_session_timeout', '2s', false),
       set_config('tcp_keepalives_idle', '5', false),
       set_config('tcp_keepalives_interval', '2', false),
       set_config('tcp_keepalives_count', '3', false)";

/// For renewals alone. What a crash of the server takes back of them is less than the lease's time and windows that go out
/// once more; what relies on them (a leaf that is emptied, keys that move) is flushed later, and they with it.
pub(crate) const RELAX: &str = "select set_config('synchronous_commit', 'off', false)";

/// Which server this is. After a promotion `pg_control_checkpoint()` still shows the old timeline; the
/// name of the segment that is written to does not.
pub(crate) const IDENTITY: &str = "
select pg_is_in_recovery(),
       (select system_identifier from pg_control_system()),
       case when pg_is_in_recovery() then 0
            else ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint end";

/// Which of several servers is the one that takes writes.
pub(crate) const IS_STANDBY: &str = "select pg_is_in_recovery()";

/// Whether the tables are there, and what came last.
pub(crate) const MIGRATED: &str = "
select to_regclass('saga.relay') is not null and to_regclass('saga.topic_growth') is not null
   and to_regprocedure('saga.relay_resume(text, bigint, bigint, bigint)') is not null";

pub(crate) const INTRODUCE: &str = "
insert into saga.relay (source, system_identifier, timeline) values ($1, $2, $3) on conflict do nothing";

pub(crate) const KNOWN_AS: &str = "select source from saga.relay";

/// The fence follows the clock: after a failover that lost the last acquisition, counting on would draw
/// the same number twice.
pub(crate) const ACQUIRE: &str = "
update saga.relay
   set fence = greatest(fence + 1, (extract(epoch from clock_timestamp()) * 1e6)::bigint),
       owner = $2, acquired_at = clock_timestamp(),
       expires_at = clock_timestamp() + $3 * interval '1 millisecond'
 where source = $1 and (expires_at <= clock_timestamp() or fence = $4)
returning fence";

/// Read after the acquisition has committed, so that nothing can change any more.
pub(crate) const LEASED: &str = "
select epoch, system_identifier, timeline, acked_win, acked_snap::text, acked_highest,
       acked_at is null and epoch > 1, partial_win, partial_position
  from saga.relay where source = $1 and fence = $2";

pub(crate) const HOLDER: &str = "
select owner, (extract(epoch from expires_at - clock_timestamp()) * 1000)::bigint
  from saga.relay where source = $1 and expires_at > clock_timestamp()";

/// Renews the lease and remembers what was acknowledged, in one update about once a second.
pub(crate) const RENEW: &str = "
update saga.relay
   set expires_at = clock_timestamp() + $3 * interval '1 millisecond',
       acked_win = $4, acked_snap = $5::text::pg_snapshot, acked_highest = greatest(acked_highest, $6),
       acked_at = case when acked_win = $4 then acked_at else clock_timestamp() end,
       partial_win = $7, partial_position = $8
 where source = $1 and fence = $2 and acked_win <= $4";

pub(crate) const RELEASE: &str = "
update saga.relay set expires_at = '-infinity', owner = null where source = $1 and fence = $2";

pub(crate) const ANNOUNCE: &str = "
insert into saga.relay_standby (instance, owner, held) values ($1, $2, $3)
on conflict (instance) do update set owner = excluded.owner, held = excluded.held, seen_at = clock_timestamp()";

pub(crate) const WITHDRAW: &str = "
delete from saga.relay_standby where instance = $1 or seen_at < clock_timestamp() - interval '1 hour'";

pub(crate) const FEWEST_HELD: &str = "
select min(held) from saga.relay_standby
 where instance <> $1 and seen_at > clock_timestamp() - $2 * interval '1 millisecond'";

/// A new epoch on the same history: the rows stay as they are. -1 if they may not.
pub(crate) const RESUME: &str = "select saga.relay_resume($1, $2, $3, $4)";

/// A new epoch on another history: each row is written, and writers wait.
pub(crate) const RECOVER: &str = "select saga.relay_recover($1, $2, $3, $4)";

/// For the one transaction that takes its time.
pub(crate) const TAKE_TIME: &str = "select set_config('statement_timeout', $1, true)";

/// The lease is as good as new.
pub(crate) const KEEP: &str = "
update saga.relay set expires_at = clock_timestamp() + $3 * interval '1 millisecond'
 where source = $1 and fence = $2";

/// Whether [`OPEN`] would find something. An outbox that sleeps is asked this: it costs the server half as much.
pub(crate) const IS_DUE: &str = "
select exists (select from saga.outbox where xid >= pg_snapshot_xmax($1::text::pg_snapshot))
    or exists (select from saga.outbox where xid = any($2::text[]::xid8[]))";

/// Opens the next window; no row if there is nothing to publish, and then nothing was written either.
///
/// The lease's row is locked, so that an acquisition waits until this window is there to be seen: a window
/// that appeared afterwards would publish its events under a second position. `$4` is the snapshot of the
/// window before, `$5` the transactions that were running then.
pub(crate) const OPEN: &str = "
with due as materialized (
    select where exists (select from saga.outbox where xid >= pg_snapshot_xmax($4::text::pg_snapshot))
              or exists (select from saga.outbox where xid = any($5::text[]::xid8[]))
), lease as materialized (
    select source, epoch from saga.relay
     where source = $1 and fence = $2 and exists (select from due) for share
)
insert into saga.relay_window (source, win, epoch, fence, snap_a, snap_b, recovery)
select source, greatest($3 + 1, (extract(epoch from clock_timestamp()) * 1e6)::bigint),
       epoch, $2, $4::text::pg_snapshot, pg_current_snapshot(), $6
  from lease
returning win, epoch, snap_a::text, snap_b::text, recovery, replay";

/// When the oldest event came to be that is not acknowledged, or one close to it. Behind a transaction that runs for hours
/// it is looked for among so many, and not further.
pub(crate) const OLDEST_WAITING: &str = "
select least(greatest(created_at, '0001-01-01 00:00:00+00'), '9999-12-31 00:00:00+00')
  from (select xid, created_at from saga.outbox
         where xid >= pg_snapshot_xmin($1::text::pg_snapshot) order by xid limit 100000) as first
 where not pg_visible_in_snapshot(xid, (select $1::text::pg_snapshot)) limit 1";

pub(crate) const UNACKED: &str = "
select win, epoch, snap_a::text, snap_b::text, recovery, replay
  from saga.relay_window where source = $1 and win > $2 order by win";

/// A window as a whole, if it is no larger than `$4` rows or about `$5` bytes: through the xid index,
/// sorted by position. `$1`, `$2`: its snapshots; `$3`: who was running at the first one.
///
/// Times that no clock has, such as 'infinity', are those at the ends of a calendar: nobody could read them, and an event
/// that nobody can read would hold up the outbox.
///
/// The last column runs up to the bytes that came so far, which is how the reader knows whether it was
/// cut.
///
/// A snapshot in a filter stands in a select of its own: a generic plan would read its text anew for each row.
pub(crate) const READ_SMALL: &str = "
select * from (
    select position, id, aggregatetype, aggregateid, type, payload, headers::text,
           least(greatest(created_at, '0001-01-01 00:00:00+00'), '9999-12-31 00:00:00+00') as created_at,
           sum(coalesce(octet_length(payload), 0) + pg_column_size(headers)) over in_order as bytes_so_far,
           coalesce(octet_length(payload), 0) + pg_column_size(headers) as bytes
      from (select * from (
               (select * from saga.outbox
                 where xid >= pg_snapshot_xmax($1::text::pg_snapshot)
                   and xid < pg_snapshot_xmax($2::text::pg_snapshot)
                   and pg_visible_in_snapshot(xid, (select $2::text::pg_snapshot))
                 limit $4)
               union all
               (select * from saga.outbox
                 where xid = any($3::text[]::xid8[])
                   and pg_visible_in_snapshot(xid, (select $2::text::pg_snapshot))
                 limit $4)) as arms
             limit $4) as rows
    window in_order as (order by position rows unbounded preceding)
) as summed
where bytes_so_far - bytes < $5
order by position";

/// Where a big window begins, and how many of its rows were looked at for that; `$4` at most, and twice as many if
/// transactions were running. With fewer it is known.
pub(crate) const FIRST_POSITION: &str = "
select min(position), count(*) from (
    (select position from saga.outbox
      where xid >= pg_snapshot_xmax($1::text::pg_snapshot)
        and xid < pg_snapshot_xmax($2::text::pg_snapshot)
        and pg_visible_in_snapshot(xid, (select $2::text::pg_snapshot))
      limit $4)
    union all
    (select position from saga.outbox
      where xid = any($3::text[]::xid8[])
        and pg_visible_in_snapshot(xid, (select $2::text::pg_snapshot))
      limit $4)) as rows";

/// The last position that there is by now: no window that was opened has one behind it.
pub(crate) const LAST_POSITION: &str = "
select greatest(
    (select position from saga.outbox where slot = 0 order by position desc limit 1),
    (select position from saga.outbox where slot = 1 order by position desc limit 1),
    (select position from saga.outbox where slot = 2 order by position desc limit 1),
    (select position from saga.outbox where slot = 3 order by position desc limit 1))";

/// The first position behind another one, of whatever window.
pub(crate) const NEXT_POSITION: &str = "
select least(
    (select position from saga.outbox where slot = 0 and position > $1 order by position limit 1),
    (select position from saga.outbox where slot = 1 and position > $1 order by position limit 1),
    (select position from saga.outbox where slot = 2 and position > $1 order by position limit 1),
    (select position from saga.outbox where slot = 3 and position > $1 order by position limit 1))";

/// Who an event is that holds the outbox up.
pub(crate) const EVENT: &str = "
select id, aggregatetype, aggregateid, type from saga.outbox where slot = any('{0,1,2,3}') and position = $1";

pub(crate) const RECORD_TOPIC: &str = "
insert into saga.relay_topic (topic, partitions)
select $3, $4 from saga.relay where source = $1 and fence = $2
on conflict (topic) do nothing";

pub(crate) const KNOWN_TOPICS: &str =
    "select topic from saga.relay_topic order by recorded_at desc limit 100";

pub(crate) const RECORDED_PARTITIONS: &str = "select partitions from saga.relay_topic where topic = $1";

/// For the preflight: which server this is.
pub(crate) const SERVER: &str = "
select current_setting('server_version_num')::int4, current_setting('server_version'), pg_is_in_recovery()";

/// For the preflight: what time it is there.
pub(crate) const CLOCK: &str = "select clock_timestamp()";

/// For the preflight: what this role may not do and the relay does.
pub(crate) const MISSING_PRIVILEGES: &str = "
select what, privilege
  from (select what, unnest(string_to_array(privileges, ' ')) as privilege
          from (values ('saga.outbox', 'select'),
                       ('saga.relay', 'select insert update'),
                       ('saga.relay_window', 'select insert'),
                       ('saga.relay_topic', 'select insert update'),
                       ('saga.relay_standby', 'select insert update delete'),
                       ('saga.topic_growth', 'select update delete'),
                       ('saga.outbox_parked_key', 'select insert update delete'),
                       ('saga.outbox_parked_event', 'select insert update delete'),
                       ('saga.outbox_0', 'select truncate'), ('saga.outbox_1', 'select truncate'),
                       ('saga.outbox_2', 'select truncate'), ('saga.outbox_3', 'select truncate'),
                       ('saga.relay_window_0', 'truncate'), ('saga.relay_window_1', 'truncate'),
                       ('saga.relay_window_2', 'truncate'), ('saga.relay_window_3', 'truncate')) as t (what, privileges)
       ) as needed
 where not has_table_privilege(what, privilege)
union all
select name, 'execute'
  from (values ('saga.relay_recover'), ('saga.relay_resume')) as functions (name)
 where not has_function_privilege(name || '(text, bigint, bigint, bigint)', 'execute')";

/// For the preflight: a block of positions per session would break the order of a key.
pub(crate) const POSITIONS_CACHED: &str =
    "select seqcache from pg_sequence where seqrelid = 'saga.outbox_position'::regclass";

/// For the preflight: what somebody forgot to commit.
pub(crate) const OLD_PREPARED: &str = "
select count(*) from pg_prepared_xacts
 where database = current_database() and prepared < clock_timestamp() - interval '1 hour'";

/// For the preflight: topics that events go to, with the largest of the first 100,000 that wait, those of the oldest
/// transactions: what was acknowledged may be a thousand times as much. Before the first relay everything waits.
pub(crate) const TARGETS: &str = "
select coalesce(w.topic, t.topic), t.partitions, w.largest::int8
  from (select waiting.topic, max(waiting.bytes) as largest
          from (select acked_snap from saga.relay
                 union all
                select '1:1:'::pg_snapshot where not exists (select from saga.relay)) as r,
               lateral (
               (select aggregatetype as topic, octet_length(aggregateid) + coalesce(octet_length(payload), 0) as bytes
                  from saga.outbox
                 where xid = any(array(select pg_snapshot_xip(r.acked_snap))) limit 100000)
                union all
               (select aggregatetype, octet_length(aggregateid) + coalesce(octet_length(payload), 0)
                  from saga.outbox
                 where xid >= pg_snapshot_xmax(r.acked_snap) order by xid limit 100000)
                limit 100000) as waiting
         group by waiting.topic) as w
  full join saga.relay_topic t on t.topic = w.topic
 order by 1 limit 1000";

/// How a leaf is emptied: whether it is worth a lock, the lock, whether it may be, and the deed.
pub(crate) struct Leaf {
    pub(crate) name: &'static str,
    pub(crate) in_use: &'static str,
    pub(crate) lock: &'static str,
    pub(crate) spent: &'static str,
    pub(crate) truncate: &'static str,
}

/// Waiting longer would make writers of that leaf wait behind us.
pub(crate) const LOCK_BRIEFLY: &str = "set local lock_timeout = '20ms'";

macro_rules! outbox_leaf {
    ($slot:literal) => {
        Leaf {
            name: concat!("outbox_", $slot),
            in_use: concat!("select pg_relation_size('saga.outbox_", $slot, "') > 0"),
            lock: concat!("lock table saga.outbox_", $slot, " in access exclusive mode"),
            // The snapshot of what was *acknowledged*, as it was committed; a statement of its own after
            // the lock, so that it sees every row that a writer has left behind. Never the leaf that is
            // written to now or next.
            spent: concat!(
                "select $2 not in (saga.outbox_slot(), (saga.outbox_slot() + 1) % 4)
                    and exists (select from saga.relay where source = $1 and fence = $3)
                    and not exists (
                        select from saga.outbox_",
                $slot,
                "
                         where xid >= pg_snapshot_xmin((select acked_snap from saga.relay where source = $1))
                           and not pg_visible_in_snapshot(
                                   xid, (select acked_snap from saga.relay where source = $1)))"
            ),
            truncate: concat!("truncate saga.outbox_", $slot),
        }
    };
}

macro_rules! window_leaf {
    ($slot:literal) => {
        Leaf {
            name: concat!("relay_window_", $slot),
            in_use: concat!("select pg_relation_size('saga.relay_window_", $slot, "') > 0"),
            lock: concat!(
                "lock table saga.relay_window_",
                $slot,
                " in access exclusive mode"
            ),
            spent: concat!(
                "select $2 not in (saga.outbox_slot(), (saga.outbox_slot() + 1) % 4)
                    and exists (select from saga.relay where source = $1 and fence = $3)
                    and not exists (
                        select from saga.relay_window_",
                $slot,
                "
                         where win > (select acked_win from saga.relay where source = $1))"
            ),
            truncate: concat!("truncate saga.relay_window_", $slot),
        }
    };
}

pub(crate) const OUTBOX_LEAVES: [Leaf; 4] =
    [outbox_leaf!(0), outbox_leaf!(1), outbox_leaf!(2), outbox_leaf!(3)];

pub(crate) const WINDOW_LEAVES: [Leaf; 4] =
    [window_leaf!(0), window_leaf!(1), window_leaf!(2), window_leaf!(3)];

/// What an operator wants to know, in one row. Of what waits, the first 100,001 are looked at, those of the oldest
/// transactions: what was acknowledged may be a thousand times as much.
pub(crate) const STATUS: &str = "
select source, owner, fence, expires_at > clock_timestamp() as held, epoch, acked_win, acked_highest,
       acked_at, partial_win > acked_win, waiting.events, waiting.oldest,
       (select sum(pg_total_relation_size(format('saga.outbox_%s', slot)::regclass))::bigint
          from generate_series(0, 3) as slot),
       (select count(*) from (select from saga.outbox_parked_event limit 100001) as parked)
  from saga.relay r, lateral (
       select count(*) as events,
              least(greatest(min(created_at), '0001-01-01 00:00:00+00'), '9999-12-31 00:00:00+00') as oldest
         from (
           (select created_at from saga.outbox
             where xid = any(array(select pg_snapshot_xip(r.acked_snap))) limit 100001)
           union all
           (select created_at from saga.outbox
             where xid >= pg_snapshot_xmax(r.acked_snap) order by xid limit 100001)
           limit 100001) as first) as waiting";

/// Statements by name, for the test that PREPAREs them. Leaves are listed by `OUTBOX_LEAVES` and `WINDOW_LEAVES`.
pub const ALL: &[(&str, &str)] = &[
    ("CONFIGURE", CONFIGURE),
    ("RELAX", RELAX),
    ("IDENTITY", IDENTITY),
    ("IS_STANDBY", IS_STANDBY),
    ("MIGRATED", MIGRATED),
    ("INTRODUCE", INTRODUCE),
    ("KNOWN_AS", KNOWN_AS),
    ("ACQUIRE", ACQUIRE),
    ("LEASED", LEASED),
    ("HOLDER", HOLDER),
    ("RENEW", RENEW),
    ("RELEASE", RELEASE),
    ("ANNOUNCE", ANNOUNCE),
    ("WITHDRAW", WITHDRAW),
    ("FEWEST_HELD", FEWEST_HELD),
    ("RESUME", RESUME),
    ("RECOVER", RECOVER),
    ("TAKE_TIME", TAKE_TIME),
    ("KEEP", KEEP),
    ("IS_DUE", IS_DUE),
    ("OPEN", OPEN),
    ("OLDEST_WAITING", OLDEST_WAITING),
    ("UNACKED", UNACKED),
    ("READ_SMALL", READ_SMALL),
    ("FIRST_POSITION", FIRST_POSITION),
    ("LAST_POSITION", LAST_POSITION),
    ("NEXT_POSITION", NEXT_POSITION),
    ("READ_PIECE", pieces::READ_PIECE),
    ("READ_PIECE_OF_LARGE", pieces::READ_PIECE_OF_LARGE),
    ("EVENT", EVENT),
    ("PARKED", parked::PARKED),
    ("REPLAYING", parked::REPLAYING),
    ("PARKED_EVENTS", parked::PARKED_EVENTS),
    ("PARK", parked::PARK),
    ("SET_ASIDE", parked::SET_ASIDE),
    ("DUE", parked::DUE),
    ("REFUSE_AGAIN", parked::REFUSE_AGAIN),
    ("OPEN_REPLAY", parked::OPEN_REPLAY),
    ("READ_REPLAY", parked::READ_REPLAY),
    ("REPLAYED_EVENT", parked::REPLAYED_EVENT),
    ("DROP_SENT", parked::DROP_SENT),
    ("PUT_BACK", parked::PUT_BACK),
    ("END_REFUSED", parked::END_REFUSED),
    ("END_REPLAY", parked::END_REPLAY),
    ("RECORD_TOPIC", RECORD_TOPIC),
    ("KNOWN_TOPICS", KNOWN_TOPICS),
    ("RECORDED_PARTITIONS", RECORDED_PARTITIONS),
    ("WISHES", growth::WISHES),
    ("NOTE_GROWTH", growth::NOTE_GROWTH),
    ("GROW", growth::GROW),
    ("ASK_FOR_GROWTH", growth::ASK_FOR_GROWTH),
    ("GROWTH", growth::GROWTH),
    ("STATUS", STATUS),
    ("SERVER", SERVER),
    ("CLOCK", CLOCK),
    ("MISSING_PRIVILEGES", MISSING_PRIVILEGES),
    ("POSITIONS_CACHED", POSITIONS_CACHED),
    ("OLD_PREPARED", OLD_PREPARED),
    ("TARGETS", TARGETS),
    ("OUTBOX_LEAF.in_use", OUTBOX_LEAVES[0].in_use),
    ("OUTBOX_LEAF.spent", OUTBOX_LEAVES[0].spent),
    ("WINDOW_LEAF.in_use", WINDOW_LEAVES[0].in_use),
    ("WINDOW_LEAF.spent", WINDOW_LEAVES[0].spent),
];
