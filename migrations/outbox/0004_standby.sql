-- Relays that stand by, so that the one with the lease can give way to one that has less to do.
--
-- A row per process of relays, written by itself a few times per lease: as often as the lease is renewed. Its name
-- would not do, since several processes may have the same one.
create table saga.relay_standby (
    instance uuid        primary key,
    -- For people.
    owner    text        not null,
    -- How many outboxes this process publishes, here and elsewhere.
    held     integer     not null check (held >= 0),
    seen_at  timestamptz not null default clock_timestamp()
    -- Updates find room on the page.
) with (fillfactor = 20);

select saga.grant_to('_relay', 'select, insert, update, delete on saga.relay_standby');
select saga.grant_to('_ops', 'select on saga.relay_standby');
