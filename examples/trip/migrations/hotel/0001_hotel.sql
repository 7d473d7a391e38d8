-- What the hotel knows of each trip. As saga_runtime::Documents wants it; runs after the outbox's and the engine's tables.

create table stay (
    key      text        primary key,
    -- Null: locked before anything was heard of it.
    state    jsonb,
    asked_at timestamptz not null default now(),
    ended_at timestamptz
) with (fillfactor = 70);
create index stay_ended on stay (ended_at) where ended_at is not null;
create index stay_blank on stay (asked_at) where state is null;

-- Hotels: shared by all trips that want a room there.
create table house (
    key      text        primary key,
    state    jsonb,
    asked_at timestamptz not null default now(),
    constraint house_balances check (
        (state->>'free')::bigint + (state->>'booked')::bigint + (state->>'kept')::bigint = (state->>'rooms')::bigint)
) with (fillfactor = 50);

select saga.grant_to('', 'select, insert, update, delete on stay, house');
select saga.grant_to('_ops', 'select on stay, house');
