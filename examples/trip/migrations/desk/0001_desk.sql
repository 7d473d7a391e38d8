-- Trips, as the desk knows them. As saga_runtime::Documents wants it; runs after the outbox's and the engine's tables.

create table trip (
    key      text        primary key,
    -- Null: locked before anything was heard of it.
    state    jsonb,
    asked_at timestamptz not null default now(),
    ended_at timestamptz
) with (fillfactor = 70);
create index trip_ended on trip (ended_at) where ended_at is not null;
create index trip_blank on trip (asked_at) where state is null;

select saga.grant_to('', 'select, insert, update, delete on trip');
select saga.grant_to('_ops', 'select on trip');
