-- What an effect carries is between the service and whom it calls: a charge holds the card's token. Operators see which
-- calls and events there are, and not what is in them.

do $$
declare
    ops text := regexp_replace(current_user, '_migrate$', '') || '_ops';
begin
    if exists (select 1 from pg_roles where rolname = ops) and ops <> current_user then
        execute format('revoke select on saga.effect, saga.outbox from %I', ops);
    end if;
end $$;

select saga.grant_to('_ops', 'select (id, participant, saga, kind, traceparent, created_at, due_at, claim_no, attempt, first_called_at, last_error, outcome) on saga.effect');
select saga.grant_to('_ops', 'select (id, aggregatetype, aggregateid, type, position, xid, slot, headers, created_at) on saga.outbox');
