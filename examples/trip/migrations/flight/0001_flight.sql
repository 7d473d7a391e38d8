-- What is known of the flight of each trip. As saga_runtime::Documents wants it; runs after the outbox's and the engine's tables.

create table seat (
    key      text        primary key,
    -- Null: locked before anything was heard of it.
    state    jsonb,
    asked_at timestamptz not null default now(),
    ended_at timestamptz
) with (fillfactor = 70);
create index seat_ended on seat (ended_at) where ended_at is not null;
create index seat_blank on seat (asked_at) where state is null;

select saga.grant_to('', 'select, insert, update, delete on seat');
select saga.grant_to('_ops', 'select on seat');
