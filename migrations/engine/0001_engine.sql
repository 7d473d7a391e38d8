-- What the engine remembers beside a service's own tables. Runs after migrations/outbox.
--
-- Every transaction of the engine takes its locks in the order of this file, and within a table sorted by
-- key: consumer_offset, command, parked_key, then the service's saga rows, its shared rows, then effect
-- and timer. Two transactions that did it otherwise would wait for each other.

-- From where a consumer reads on. Written with compare-and-set as the first statement of a batch: who finds
-- another offset than the one it read is not the owner any more.
create table saga.consumer_offset (
    consumer    text   not null,
    topic       text   not null,
    partition   integer not null,
    next_offset bigint not null,
    primary key (consumer, topic, partition)
) with (fillfactor = 50);

-- The last position that a consumer applied, per outbox that publishes to the partition. Whatever comes with
-- a position that is not above it came before.
create table saga.consumer_source (
    consumer  text    not null,
    topic     text    not null,
    partition integer not null,
    source    text    not null,
    last      text    collate "C" not null,
    primary key (consumer, topic, partition, source)
) with (fillfactor = 50);

-- One row per message of producers that have no outbox of ours, and so no position.
create table saga.inbox (
    consumer    text not null,
    source      text not null,
    id          text not null,
    received_on date not null default current_date,
    primary key (received_on, consumer, source, id)
) partition by range (received_on);
create index inbox_message on saga.inbox (consumer, source, id);

-- Keeps a partition for today and the next two days, and drops those that are older than `keep_days`.
-- Owned by the migrating role: the service may call it, and may not drop anything else.
create function saga.inbox_rotate(keep_days integer) returns void
language plpgsql security definer set search_path = saga, pg_catalog, pg_temp as $$
declare
    day date;
    leaf record;
begin
    perform pg_advisory_xact_lock(hashtextextended('saga.inbox_rotate', 0));
    for day in select current_date + n from generate_series(0, 2) n loop
        if to_regclass(format('saga.inbox_%s', to_char(day, 'YYYYMMDD'))) is null then
            execute format('create table saga.inbox_%s partition of saga.inbox for values from (%L) to (%L)',
                           to_char(day, 'YYYYMMDD'), day, day + 1);
        end if;
    end loop;
    for leaf in
        select c.oid::regclass as name, to_date(right(c.relname, 8), 'YYYYMMDD') as day
          from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'saga.inbox'::regclass
    loop
        if leaf.day < current_date - keep_days then
            execute format('drop table %s', leaf.name);
        end if;
    end loop;
end $$;
select saga.inbox_rotate(30);

-- The first answer to a command, for whoever asks again with the same key.
create table saga.command (
    owner       text        not null,
    method      text        not null,
    key         text        not null,
    fingerprint bytea       not null,
    reply       jsonb,
    created_at  timestamptz not null default now(),
    primary key (owner, method, key)
);
create index command_age on saga.command (created_at);

-- A key whose message could not be decoded or decided. Its later messages wait behind it, in order.
-- The row is what a batch that adds to the key and a replay that empties it both lock.
create table saga.parked_key (
    participant      text        not null,
    key              text        not null,
    reason           text        not null,
    parked_at        timestamptz not null default now(),
    replay_requested timestamptz,
    primary key (participant, key)
);

create table saga.parked_message (
    participant text        not null,
    key         text        not null,
    seq         bigint      not null generated always as identity,
    topic       text        not null,
    partition   integer     not null,
    "offset"    bigint      not null,
    record_key  bytea,
    headers     jsonb       not null,
    payload     bytea,
    -- Why this one was parked; null if it only waits behind another.
    reason      text,
    parked_at   timestamptz not null default now(),
    primary key (participant, key, seq),
    foreign key (participant, key) references saga.parked_key
);

-- What an operator did, and who says so.
create table saga.operator_action (
    id          bigint      generated always as identity primary key,
    action      text        not null,
    subject     text        not null,
    detail      jsonb       not null default '{}',
    by_role     text        not null default session_user,
    by_person   text        not null,
    happened_at timestamptz not null default now()
);

-- A call to the outside world that has yet to be made or answered. At most one per saga and participant.
create table saga.effect (
    id              uuid        primary key,
    participant     text        not null,
    saga            text        not null,
    kind            text        not null,
    payload         bytea       not null,
    traceparent     text,
    created_at      timestamptz not null default now(),
    -- When it may be claimed next: a lease is a due_at in the future. Null: exhausted, waits for an operator.
    due_at          timestamptz default now(),
    -- Each claim draws a new number, and an answer counts only under the number of the current claim.
    claim_no        bigint      not null default 0,
    attempt         integer     not null default 0,
    first_called_at timestamptz,
    last_error      text,
    outcome         bigint      not null default 0,
    unique (participant, saga)
) with (fillfactor = 70);
create index effect_due on saga.effect (participant, due_at) where due_at is not null;

-- A deadline that is an input when it fires.
create table saga.timer (
    participant text        not null,
    saga        text        not null,
    name        text        not null,
    id          uuid        not null,
    due_at      timestamptz not null,
    traceparent text,
    primary key (participant, saga, name)
);
create index timer_due on saga.timer (participant, due_at);

-- "Stop refunds now." `what` is '*' for everything that the participant does by itself, or the kind of an effect.
create table saga.pause (
    participant text        not null,
    what        text        not null,
    reason      text        not null,
    paused_at   timestamptz not null default now(),
    primary key (participant, what)
);

select saga.grant_to('', 'select, insert, update, delete on saga.consumer_offset, saga.consumer_source, saga.command, saga.parked_key, saga.parked_message, saga.effect, saga.timer');
select saga.grant_to('', 'select, insert on saga.inbox');
select saga.grant_to('', 'select on saga.pause');
select saga.grant_to('', 'execute on function saga.inbox_rotate(integer)');

select saga.grant_to('_ops', 'select on saga.consumer_offset, saga.consumer_source, saga.effect, saga.timer');
select saga.grant_to('_ops', 'select, update, delete on saga.parked_key, saga.parked_message');
select saga.grant_to('_ops', 'update (due_at, attempt, first_called_at) on saga.effect');
select saga.grant_to('_ops', 'select, insert, delete on saga.pause');
select saga.grant_to('_ops', 'select, insert on saga.operator_action');
revoke execute on function saga.inbox_rotate(integer) from public;
