-- Empties the leaves of minutes that are over, where no relay does it: who reads the log does not need the rows.
-- To be run every half minute. Not while a connector takes its first snapshot, which does need them.
do $$
declare
    now_written smallint := saga.outbox_slot();
    leaf text;
begin
    -- Waiting longer would make writers wait behind us. A leaf that is in use is emptied the next time.
    set local lock_timeout = '20ms';
    -- Neither the leaf of this minute nor that of the next one.
    for ahead in 2..3 loop
        leaf := format('saga.outbox_%s', (now_written + ahead) % 4);
        begin
            execute format('truncate %s', leaf);
        exception when lock_not_available then
            raise notice '% is in use', leaf;
        end;
    end loop;
end $$;
