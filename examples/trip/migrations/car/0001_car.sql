-- What the rental knows of each trip. As saga_runtime::Documents wants it; runs after the outbox's and the engine's tables.

create table rental (
    key      text        primary key,
    -- Null: locked before anything was heard of it.
    state    jsonb,
    asked_at timestamptz not null default now(),
    ended_at timestamptz
) with (fillfactor = 70);
create index rental_ended on rental (ended_at) where ended_at is not null;
create index rental_blank on rental (asked_at) where state is null;

select saga.grant_to('', 'select, insert, update, delete on rental');
select saga.grant_to('_ops', 'select on rental');
