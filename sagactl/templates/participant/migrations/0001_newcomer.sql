-- Newcomer's own tables. Runs after those of the outbox and of the engine.

-- What one saga has here. What ended stays as a barrier against what comes late, until it is pruned.
create table reservation (
    saga_id  uuid        primary key,
    -- 'unknown': locked before anything was heard of the saga, which is all that the row says.
    state    text        not null default 'unknown'
             check (state in ('unknown', 'reserved', 'refused', 'released')),
    units    bigint,
    ended_at timestamptz,
    constraint reservation_has_units_while_reserved check ((state = 'reserved') = (units is not null)),
    constraint reservation_knows_its_end check ((state in ('refused', 'released')) = (ended_at is not null))
) with (fillfactor = 70);
create index reservation_ended on reservation (ended_at) where ended_at is not null;

-- The service may work in it, operators may look.
select saga.grant_to('', 'select, insert, update, delete on reservation');
select saga.grant_to('_ops', 'select on reservation');
