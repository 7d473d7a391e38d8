-- Topics that are to spread their keys over more partitions. The relay does it once everybody in `wait_for` has read
-- what it has published to the old ones; until then keys stay where they are.
create table saga.topic_growth (
    topic    text        primary key,
    wanted   integer     not null check (wanted > 0),
    -- Consumer groups.
    wait_for text[]      not null,
    -- What it waits for, in the relay's words.
    note     text,
    asked_at timestamptz not null default now()
);

select saga.grant_to('_relay', 'select, insert, update, delete on saga.topic_growth');
select saga.grant_to('_ops', 'select on saga.topic_growth');
