-- The books of the payment sandbox: what a provider knows of the money of others.
--
-- Nothing here is unique by the merchant's reference. A merchant who forgets that he has charged is
-- charged again, as with a real provider, and the books show it.

create table charge (
    id             uuid        primary key,
    reference      text        not null,
    amount_minor   bigint      not null check (amount_minor > 0),
    currency       text        not null check (currency ~ '^[A-Z]{3}$'),
    -- Null: paid on a page.
    token          text,
    page_id        uuid,
    status         text        not null check (status in ('succeeded', 'declined')),
    decline_code   text,
    -- The same as the sum of its refunds; here, so that one row lock decides whether there is enough left.
    refunded_minor bigint      not null default 0,
    created_at     timestamptz not null default now(),
    constraint charge_has_one_origin check ((token is null) <> (page_id is null)),
    constraint charge_says_why_declined check ((status = 'declined') = (decline_code is not null)),
    constraint charge_gives_back_at_most_itself check (refunded_minor between 0 and amount_minor),
    constraint charge_declined_has_no_refund check (status = 'succeeded' or refunded_minor = 0)
);
create index charge_reference on charge (reference, id);

create table refund (
    id           uuid        primary key,
    charge_id    uuid        not null references charge (id),
    reference    text        not null,
    amount_minor bigint      not null check (amount_minor > 0),
    created_at   timestamptz not null default now()
);
create index refund_charge on refund (charge_id);
create index refund_reference on refund (reference);

create table page (
    id           uuid        primary key,
    reference    text        not null,
    amount_minor bigint      not null check (amount_minor > 0),
    currency     text        not null check (currency ~ '^[A-Z]{3}$'),
    return_url   text,
    status       text        not null default 'open'
                 check (status in ('open', 'paid', 'declined', 'closed', 'expired')),
    expires_at   timestamptz not null,
    created_at   timestamptz not null default now()
);
create index page_reference on page (reference, id);
create index page_expiry on page (expires_at) where status = 'open';

-- What the merchant is told by us. `due_at` is null once that is over, well or badly.
create table webhook (
    id           uuid        primary key,
    type         text        not null,
    reference    text        not null,
    body         text        not null,
    attempts     int         not null default 0,
    due_at       timestamptz default now(),
    delivered_at timestamptz,
    last_answer  text,
    created_at   timestamptz not null default now()
);
create index webhook_due on webhook (due_at) where due_at is not null;
create index webhook_reference on webhook (reference);

-- The first answer to each key. Written in the transaction that booked what the answer speaks of.
create table idempotency_key (
    key         text        primary key,
    fingerprint bytea       not null,
    reference   text        not null,
    -- The charge, refund or page that the first call made.
    made        uuid        not null,
    body        text        not null,
    created_at  timestamptz not null default now()
);
create index idempotency_key_age on idempotency_key using brin (created_at);

-- `sandbox_migrate` owns, `sandbox` works. Who runs everything as one role needs no grants.
do $$
declare
    worker text := regexp_replace(current_user, '_migrate$', '');
begin
    if worker <> current_user and exists (select from pg_roles where rolname = worker) then
        execute format('grant usage on schema public to %I', worker);
        execute format('grant select, insert, update on charge, page, webhook to %I', worker);
        execute format('grant select, insert on refund to %I', worker);
        execute format('grant select, insert, delete on idempotency_key to %I', worker);
        execute format('grant delete on webhook to %I', worker);
        -- So that it can tell whether the schema is the one that it was built for.
        execute format('grant select on _sqlx_migrations to %I', worker);
    end if;
end $$;
