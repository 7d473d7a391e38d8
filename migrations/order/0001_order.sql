-- Orders, and the prices that they are taken at. Runs after migrations/outbox and migrations/engine.

-- An order without a status is one that was asked for and never placed: its row is there to be locked.
--
-- What was placed (owner, lines, …) does not change afterwards. Who writes sends it again all the same: one
-- statement for a whole batch is cheaper than telling the new ones from the others.
create table orders (
    id          uuid        primary key,
    status      text        check (status in ('pending', 'confirmed', 'rejected', 'cancelled', 'refunded')),
    owner       text,
    -- [{"product_id": "…", "quantity": 1, "unit_price": {"minor": 250, "currency": "EUR"}}, …]
    lines       jsonb,
    total_minor bigint,
    currency    text,
    method      text        check (method in ('card', 'hosted_page')),
    page_url    text,
    -- Why it was cancelled.
    reason      text,
    -- Where the money of a cancelled order is: 'unknown', 'nothing' held, 'owed'.
    money       text        check (money in ('unknown', 'nothing', 'owed')),
    -- Grows with each change, so that whoever reads twice can tell which is the newer one.
    version     bigint      not null default 0,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    ended_at    timestamptz,
    constraint orders_are_whole_or_absent
        check (num_nulls(status, owner, lines, total_minor, currency, method) in (0, 6)),
    constraint orders_are_cancelled_for_a_reason
        check ((status in ('cancelled', 'refunded')) is true = (reason is not null)),
    constraint orders_know_the_money_of_what_is_cancelled
        check ((status = 'cancelled') is true = (money is not null))
);

-- Lists, newest first: of one owner; of one status, or of all of them as a merge of five.
create index orders_of_owner on orders (owner, created_at desc, id desc) where status is not null;
create index orders_of_status on orders (status, created_at desc, id desc) where status is not null;
-- How many are in flight, and what was never placed.
create index orders_open on orders (status, created_at) where ended_at is null;

-- The price that the catalogue published last. Without one: asked for, and not published.
create table price (
    product_id  uuid   primary key,
    price_minor bigint,
    currency    text,
    asked_at    timestamptz not null default now(),
    constraint price_is_whole_or_absent check (num_nulls(price_minor, currency) in (0, 2))
) with (fillfactor = 70);
create index price_absent on price (asked_at) where price_minor is null;

select saga.grant_to('', 'usage on schema public');
select saga.grant_to('', 'select, insert, update, delete on orders, price');
select saga.grant_to('', 'select on _sqlx_migrations');
select saga.grant_to('_ops', 'usage on schema public');
select saga.grant_to('_ops', 'select on orders, price');
