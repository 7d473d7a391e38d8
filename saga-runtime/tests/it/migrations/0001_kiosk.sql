create table visit (
    id       text primary key,
    seen     integer[] not null default '{}',
    told     text[]    not null default '{}',
    asked_at timestamptz not null default now(),
    ended_at timestamptz
);
create table till (
    id    text primary key,
    coins bigint
);
select saga.grant_to('', 'select, insert, update, delete on visit, till');
