-- Begins a new epoch where the rows' transaction ids still mean what they did: after a promotion, a recovery to a point in
-- time, a data directory that was copied. Nothing is stamped afresh, and no writer waits.
--
-- What is here is a prefix of one write-ahead log. It holds the acknowledged snapshot only together with all that the
-- snapshot had seen commit, and its counter of transaction ids stands above all that the snapshot knows. So, as before: what
-- the acknowledged snapshot does not see was not acknowledged, whether it was running then or had not begun, and every
-- snapshot to come sees what it should. Windows that were opened and not acknowledged are part of the next one.
--
-- Whether that is so is not believed but looked at, by what has to hold:
--
-- * no row is of a transaction that is yet to come, or is running: a later snapshot would leave it out;
-- * no transaction that is running, or is yet to come, is one that the acknowledged snapshot sees: its events would be lost;
-- * no position is above the sequence: it would be drawn twice.
--
-- Returns how many events are left over, counted up to 100,001; -1 if it does not hold, and then saga.relay_recover is to
-- stamp the rows; null if the lease is lost.
create function saga.relay_resume(
    source text, fence bigint, system_identifier bigint, timeline bigint
) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    lease     saga.relay;
    highest   bigint;
    left_over bigint;
begin
    select * into lease from saga.relay r
     where r.source = relay_resume.source and r.fence = relay_resume.fence for update;
    if not found then
        return null;
    end if;
    if lease.system_identifier <> relay_resume.system_identifier then
        return -1;
    end if;

    -- Each statement by itself: it sees no row that its own snapshot does not.
    if exists (select from saga.outbox o where o.xid >= pg_snapshot_xmax(pg_current_snapshot()))
       or exists (select from saga.outbox o where o.xid = any (array(select pg_snapshot_xip(pg_current_snapshot()))))
       or pg_snapshot_xmax(lease.acked_snap) > pg_snapshot_xmax(pg_current_snapshot())
       or exists (select from pg_snapshot_xip(pg_current_snapshot()) running (xid)
                   where pg_visible_in_snapshot(running.xid, lease.acked_snap)) then
        return -1;
    end if;
    select greatest(lease.acked_highest,
               (select o.position from saga.outbox o where o.slot = 0 order by o.position desc limit 1),
               (select o.position from saga.outbox o where o.slot = 1 order by o.position desc limit 1),
               (select o.position from saga.outbox o where o.slot = 2 order by o.position desc limit 1),
               (select o.position from saga.outbox o where o.slot = 3 order by o.position desc limit 1))
      into highest;
    -- Read after the rows: who writes meanwhile only moves it on.
    if highest > (select s.last_value from saga.outbox_position s) then
        return -1;
    end if;

    select count(*) into left_over from (
        (select from saga.outbox o where o.xid >= pg_snapshot_xmax(lease.acked_snap) limit 100001)
        union all
        (select from saga.outbox o where o.xid = any (array(select pg_snapshot_xip(lease.acked_snap))) limit 100001)
        limit 100001) as waiting;

    update saga.relay r
       set epoch = r.epoch + 1,
           timeline = relay_resume.timeline,
           acked_win = greatest(r.acked_win, coalesce(
               (select max(w.win) from saga.relay_window w where w.source = r.source), 0)),
           -- Null until the new epoch's first acknowledgement, which is how its first window is known.
           acked_at = null,
           partial_win = 0, partial_position = 0
     where r.source = relay_resume.source;
    return left_over;
end $$;

revoke execute on function saga.relay_resume from public;

select saga.grant_to('_relay', 'execute on function saga.relay_resume');
