-- The catalogue. Runs after migrations/outbox and migrations/engine.

-- A row without a name is a product that was asked for and does not exist: it is what two transactions lock
-- that both want to create it.
create table product (
    id          uuid        primary key,
    name        text,
    price_minor bigint,
    currency    text,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    constraint product_is_whole_or_absent check (num_nulls(name, price_minor, currency) in (0, 3)),
    constraint product_costs_something check (price_minor > 0),
    constraint product_has_a_currency check (currency ~ '^[A-Z]{3}$')
);
create index product_absent on product (created_at) where name is null;

select saga.grant_to('', 'usage on schema public');
select saga.grant_to('', 'select, insert, update, delete on product');
select saga.grant_to('', 'select on _sqlx_migrations');
select saga.grant_to('_ops', 'usage on schema public');
select saga.grant_to('_ops', 'select on product');
