-- What the message relay remembers: who relays, which windows it opened, what the broker has acknowledged.
--
-- A window is what snapshot B sees and snapshot A did not. Its row is committed before anything of it is
-- published, so that after a crash the same events go out with the same positions.

-- One outbox has one source: its name is part of what consumers remember, so a second name would publish
-- everything again. Written about once a second; the row is small and the page has room, so that the
-- updates stay on it.
create table saga.relay (
    source            text        primary key,

    -- The lease. The fence is drawn anew on each acquisition and checked by each write: a name would not
    -- do, since a process that restarts has the same one. Expiry is on this database's clock.
    fence             bigint      not null default 0,
    owner             text,
    acquired_at       timestamptz,
    expires_at        timestamptz not null default '-infinity',

    -- The history of transaction ids that the snapshots below belong to. Restored, copied or promoted
    -- databases differ in the second or the third; then the epoch moves on (saga.relay_recover).
    epoch             bigint      not null default 1,
    system_identifier bigint      not null,
    timeline          bigint      not null,

    -- Everything up to and including this window was acknowledged by the broker. '1:1:' sees nothing.
    acked_win         bigint      not null default 0,
    acked_snap        pg_snapshot not null default '1:1:',
    -- The highest position in any acknowledged window.
    acked_highest     bigint      not null default 0,
    acked_at          timestamptz,
    -- How far into a window that is still being published: a big one is not begun again from its start.
    partial_win       bigint      not null default 0,
    partial_position  bigint      not null default 0,

    constraint relay_source_is_named check (source ~ '^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$'),
    constraint relay_epoch_fits check (epoch between 1 and 4294967295)
) with (fillfactor = 20);

create unique index relay_one_source on saga.relay ((true));

-- Append-only, and in leaves that rotate as the outbox's do: one row that were updated per window would
-- leave a dead tuple each time, and get forty times slower while somebody holds a snapshot.
create table saga.relay_window (
    source    text        not null,
    -- Never goes back: greatest(last + 1, the clock in microseconds).
    win       bigint      not null,
    slot      smallint    not null default saga.outbox_slot(),
    epoch     bigint      not null,
    fence     bigint      not null,
    snap_a    pg_snapshot not null,
    snap_b    pg_snapshot not null,
    -- The first window of an epoch: what was left over from the one before.
    recovery  boolean     not null default false,
    opened_at timestamptz not null default clock_timestamp(),
    primary key (slot, source, win)
) partition by list (slot);

create table saga.relay_window_0 partition of saga.relay_window for values in (0);
create table saga.relay_window_1 partition of saga.relay_window for values in (1);
create table saga.relay_window_2 partition of saga.relay_window for values in (2);
create table saga.relay_window_3 partition of saga.relay_window for values in (3);

-- How many partitions keys are spread over. Recorded when the relay first meets the topic: a topic that
-- grows must not move keys while events of theirs are unread.
create table saga.relay_topic (
    topic       text        primary key,
    partitions  integer     not null check (partitions > 0),
    recorded_at timestamptz not null default now()
);

-- Begins a new epoch, after a restore or a promotion.
--
-- Transaction ids of the outbox's rows may stem from another history: rows from the future would look
-- unpublished later on, new rows would look published already. So each row is stamped afresh, with every
-- writer locked out: what is above the highest position ever acknowledged, or not visible in the
-- acknowledged snapshot, belongs to this transaction from now on, and the window that is opened next
-- takes it up; all else is older than any snapshot.
create function saga.relay_recover(
    source text, fence bigint, system_identifier bigint, timeline bigint
) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    lease   saga.relay;
    current pg_snapshot;
    me      xid8;
    left_over bigint;
begin
    select * into lease from saga.relay r
     where r.source = relay_recover.source and r.fence = relay_recover.fence for update;
    if not found then
        return null;
    end if;

    -- Waits for the transactions that have written, keeps out those that would. Each statement after
    -- this one has a snapshot of its own, which sees all that they committed.
    lock table saga.outbox in share row exclusive mode;
    me := pg_current_xact_id();
    current := pg_current_snapshot();

    with stamped as (
        update saga.outbox o
           set xid = case when o.position > lease.acked_highest
                            or not pg_visible_in_snapshot(o.xid, lease.acked_snap)
                          then me else '3'::xid8 end
         where o.position > lease.acked_highest
            or not pg_visible_in_snapshot(o.xid, lease.acked_snap)
            or o.xid >= pg_snapshot_xmin(current)
        returning o.xid
    )
    select count(*) filter (where s.xid = me) into left_over from stamped s;

    -- A dump holds the sequence apart from the rows: it must never draw a position twice.
    perform setval('saga.outbox_position', greatest(
        (select last_value from saga.outbox_position),
        (select coalesce(max(o.position), 0) from saga.outbox o),
        lease.acked_highest, 1));

    -- A snapshot leaves out the transaction that takes it. This one is still running as far as the next
    -- window is concerned, so it must be on the list.
    if me < pg_snapshot_xmax(current) then
        current := format('%s:%s:%s', least(me, pg_snapshot_xmin(current)), pg_snapshot_xmax(current),
            (select string_agg(x::text, ',' order by x)
               from (select pg_snapshot_xip(current) union select me) as running (x)))::pg_snapshot;
    end if;

    update saga.relay r
       set epoch = r.epoch + 1,
           system_identifier = relay_recover.system_identifier,
           timeline = relay_recover.timeline,
           acked_win = greatest(r.acked_win, coalesce(
               (select max(w.win) from saga.relay_window w where w.source = r.source), 0)),
           acked_snap = current,
           -- Null until the new epoch's first acknowledgement, which is how its first window is known.
           acked_at = null,
           partial_win = 0, partial_position = 0
     where r.source = relay_recover.source;
    return left_over;
end $$;

revoke execute on function saga.relay_recover from public;

select saga.grant_to('_relay', 'select, insert, update on saga.relay');
select saga.grant_to('_relay', 'select, insert on saga.relay_window');
select saga.grant_to('_relay', format('select, insert, truncate on saga.relay_window_%s', leaf))
  from generate_series(0, 3) leaf;
select saga.grant_to('_relay', 'select, insert, update on saga.relay_topic');
select saga.grant_to('_relay', 'execute on function saga.relay_recover');
select saga.grant_to('_ops', 'select on saga.relay, saga.relay_window, saga.relay_topic');
