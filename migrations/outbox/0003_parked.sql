-- Events that cannot be sent, and those that wait behind them, so that nobody else has to wait.
--
-- An event that the broker refuses for its own sake (too large, not allowed, no such topic) parks its key, or its
-- whole topic where the reason is the topic's. From then on the relay copies what belongs there to this table instead
-- of publishing it, before the window that it came in counts as acknowledged. A replay sends the copies in a window of
-- their own, so with new positions: consumers would take the old ones for duplicates.

create table saga.outbox_parked_key (
    topic            text        not null,
    -- '' if the whole topic is parked.
    key              text        not null,
    whole            boolean     not null,
    -- One word: too_large, no_such_topic, not_authorised, fewer_partitions, refused.
    reason           text        not null,
    -- The same for people.
    detail           text        not null,
    -- The event that was refused.
    event            uuid        not null,
    type             text        not null,
    parked_at        timestamptz not null default clock_timestamp(),
    -- The last replay that was refused again.
    tried_at         timestamptz,
    -- Somebody wants it to be sent again.
    replay_requested timestamptz,
    -- The window that sends it again right now.
    replay_win       bigint,
    primary key (topic, key, whole)
);

create table saga.outbox_parked_event (
    -- Where it stood in the outbox. The sequence never gives a position twice, so this names the event.
    position        bigint      primary key,
    win             bigint      not null,
    topic           text        not null,
    key             text        not null,
    id              uuid        not null,
    type            text        not null,
    payload         bytea,
    headers         jsonb       not null,
    created_at      timestamptz not null,
    parked_at       timestamptz not null default clock_timestamp(),
    -- The window that sends it again, and its place in there. Fixed before anything of it is sent.
    replay_win      bigint,
    replay_position bigint
);

create index outbox_parked_event_key on saga.outbox_parked_event (topic, key, win, position);
create index outbox_parked_event_replay on saga.outbox_parked_event (replay_win, replay_position)
 where replay_win is not null;

-- What an operator threw away, as it was: the audit, and the way back.
create table saga.outbox_discarded (
    position     bigint      primary key,
    topic        text        not null,
    key          text        not null,
    id           uuid        not null,
    type         text        not null,
    payload      bytea,
    headers      jsonb       not null,
    created_at   timestamptz not null,
    why          text        not null,
    by_role      text        not null default session_user,
    by_person    text        not null,
    discarded_at timestamptz not null default clock_timestamp()
);

-- A window that sends parked events again. Its snapshots are those of the window before: it takes up nothing new.
alter table saga.relay_window add column replay boolean not null default false;

select saga.grant_to('_relay', 'select, insert, update, delete on saga.outbox_parked_key, saga.outbox_parked_event');
select saga.grant_to('_ops', 'select, update (replay_requested) on saga.outbox_parked_key');
-- The update is for the row's lock alone.
select saga.grant_to('_ops', 'select, delete, update (parked_at) on saga.outbox_parked_event');
select saga.grant_to('_ops', 'select, insert on saga.outbox_discarded');
