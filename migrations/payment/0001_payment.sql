-- Payment's own table. Runs after migrations/outbox and migrations/engine.
--
-- One row per order, for ever: these are the books of who paid what.

create table payment (
    order_id     uuid        primary key,
    -- Our reference at the provider, derived from the order: reports that know nothing else find the row by it.
    payment_id   uuid        not null,
    -- 'absent': locked before anything was heard of the order, which is all that the row says.
    state        text        not null default 'absent'
                 check (state in ('absent', 'stock_first', 'awaiting_stock', 'asking', 'page_open', 'captured',
                                  'refunding', 'refund_parked', 'refunded', 'failed', 'expired', 'voided', 'rejected')),
    amount_minor bigint,
    currency     text        check (currency ~ '^[A-Z]{3}$'),
    method       text        check (method in ('card', 'page')),
    page_url     text,
    -- Only until the charge begins: a card's token may be worth money.
    card_token   text,
    -- The question that is open at the provider, and what was heard since.
    asked        text        check (asked in ('charge', 'what_of_charge', 'page', 'what_of_page',
                                              'close_expired', 'close_declined', 'close_unreachable')),
    standing     text        check (standing in ('waits', 'cancelled', 'paid', 'refund_due')),
    failure_code text,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),

    constraint payment_bill_is_whole
        check ((amount_minor is null) = (currency is null) and (currency is null) = (method is null)),
    constraint payment_bill_is_known
        check (state in ('voided', 'rejected') or (method is null) = (state in ('absent', 'stock_first'))),
    constraint payment_page_is_of_a_page check (page_url is null or method = 'page'),
    constraint payment_card_is_forgotten
        check ((card_token is not null) = (state = 'awaiting_stock' and method = 'card')),
    constraint payment_asks_one_question
        check ((asked is not null) = (state = 'asking') and (standing is not null) = (state = 'asking')),
    constraint payment_says_why_it_failed check ((failure_code is not null) = (state = 'failed'))
) with (fillfactor = 70);
create unique index payment_reference on payment (payment_id);

select saga.grant_to('', 'select, insert, update on payment');
-- Operators see where the money is, and no card.
select saga.grant_to('_ops', 'select (order_id, payment_id, state, amount_minor, currency, method, page_url, asked,
                                      standing, failure_code, created_at, updated_at) on payment');
