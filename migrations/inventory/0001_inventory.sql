-- Inventory's own tables. Runs after migrations/outbox and migrations/engine.

-- What one order holds. A hold that ended stays as a barrier against what comes late, until it is pruned.
create table hold (
    order_id uuid        primary key,
    -- 'absent': locked before anything was heard of the order, which is all that the row says.
    state    text        not null default 'absent'
             check (state in ('absent', 'held', 'rejected', 'sold', 'cancelled')),
    -- [{"product_id": "…", "quantity": 1}, …]
    lines    jsonb,
    ended_at timestamptz,
    constraint hold_has_lines_while_held check ((state = 'held') = (lines is not null)),
    constraint hold_knows_its_end check ((state in ('rejected', 'sold', 'cancelled')) = (ended_at is not null))
) with (fillfactor = 70);
create index hold_ended on hold (ended_at) where ended_at is not null;

-- The units of one product. `received` is 0 where none ever came in: such a row is there to be locked.
create table shelf (
    product_id uuid   primary key,
    received   bigint not null default 0,
    on_hand    bigint not null default 0,
    held       bigint not null default 0,
    sold       bigint not null default 0,
    constraint shelf_is_not_overdrawn check (on_hand >= 0 and held >= 0 and sold >= 0),
    constraint shelf_balances check (on_hand + held + sold = received)
) with (fillfactor = 50);

select saga.grant_to('', 'select, insert, update, delete on hold');
select saga.grant_to('', 'select, insert, update on shelf');
select saga.grant_to('_ops', 'select on hold, shelf');
