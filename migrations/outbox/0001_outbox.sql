-- The transactional outbox: an event is a row that commits with the state it speaks of.
--
-- The first five columns are those of Debezium's Outbox Event Router, so that the same table can be
-- read by it. `aggregatetype` is the whole topic name, `aggregateid` the Kafka key.
--
-- Append-only: no UPDATE and no DELETE, ever. Rows go into one of four leaves by the minute they were
-- written in; the relay truncates a leaf once everything in it was acknowledged by the broker. So there
-- are no dead tuples, whatever long transaction somebody forgot.

create schema if not exists saga;

-- Roles are derived from the owner: `order_migrate` owns, `order` works, `order_relay` relays,
-- `order_ops` looks and mends. A role that does not exist is skipped: who runs everything as one
-- role needs no grants.
create function saga.grant_to(suffix text, privileges text) returns void
language plpgsql as $$
declare
    grantee text := regexp_replace(current_user, '_migrate$', '') || suffix;
begin
    if exists (select 1 from pg_roles where rolname = grantee) and grantee <> current_user then
        execute format('grant %s to %I', privileges, grantee);
    end if;
end $$;

-- CACHE 1: a position is drawn while the aggregate's row is locked, so positions of one aggregate
-- grow in commit order. A cached block per session would break that.
create sequence saga.outbox_position as bigint cache 1;

-- Which leaf a row goes to. clock_timestamp, not now(): a transaction that lives for an hour must not
-- write into a leaf that was the current one an hour ago.
create function saga.outbox_slot() returns smallint
language sql volatile parallel safe
return ((extract(epoch from clock_timestamp())::bigint / 60) % 4)::smallint;

create table saga.outbox (
    id            uuid        not null,
    aggregatetype text        not null,
    aggregateid   text        not null,
    type          text        not null,
    payload       bytea,
    position      bigint      not null default nextval('saga.outbox_position'),
    xid           xid8        not null default pg_current_xact_id(),
    slot          smallint    not null default saga.outbox_slot(),
    -- CloudEvents attributes and trace context: {"ce_dataschema": "…", "ce_correlationid": "…", …}.
    -- A text value becomes a Kafka header as it is; {"base64": "…"} becomes its decoded bytes.
    headers       jsonb       not null default '{}',
    created_at    timestamptz not null default now(),
    primary key (slot, position),
    constraint outbox_topic_is_named check (aggregatetype <> ''),
    constraint outbox_type_is_named check (type <> '')
) partition by list (slot);

create table saga.outbox_0 partition of saga.outbox for values in (0);
create table saga.outbox_1 partition of saga.outbox for values in (1);
create table saga.outbox_2 partition of saga.outbox for values in (2);
create table saga.outbox_3 partition of saga.outbox for values in (3);

-- What the relay's windows are bounded by.
create index outbox_xid on saga.outbox (xid);

-- The door for services in other languages, and for psql. It takes an advisory lock on the aggregate
-- until the transaction ends, because the caller may hold no row lock of its own that would order two
-- writers of one aggregate.
create function saga.append_event(
    topic   text,
    key     text,
    type    text,
    payload jsonb,
    headers jsonb default '{}',
    id      uuid default gen_random_uuid()
) returns bigint
language plpgsql as $$
declare
    drawn bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended(topic || chr(31) || key, 0));
    insert into saga.outbox (id, aggregatetype, aggregateid, type, payload, headers)
    values (id, topic, key, type, convert_to(payload::text, 'UTF8'),
            jsonb_build_object('content-type', 'application/json') || headers)
    returning outbox.position into drawn;
    return drawn;
end $$;

select saga.grant_to('', 'usage on schema saga');
select saga.grant_to('_relay', 'usage on schema saga');
select saga.grant_to('_ops', 'usage on schema saga');
select saga.grant_to('', 'insert, select on saga.outbox');
select saga.grant_to('', 'usage, select on sequence saga.outbox_position');
select saga.grant_to('_relay', 'select on saga.outbox');
select saga.grant_to('_relay', 'select on sequence saga.outbox_position');
select saga.grant_to('_ops', 'select on saga.outbox');

-- TRUNCATE and LOCK TABLE are checked on the leaf, not on its parent.
select saga.grant_to('_relay', format('select, truncate on saga.outbox_%s', leaf)) from generate_series(0, 3) leaf;
