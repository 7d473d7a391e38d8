-- As saga_runtime::documents shows them.
create table visit_document (
    key      text        primary key,
    state    jsonb,
    asked_at timestamptz not null default now(),
    ended_at timestamptz
) with (fillfactor = 70);
create index visit_document_ended on visit_document (ended_at) where ended_at is not null;
create index visit_document_blank on visit_document (asked_at) where state is null;

create table till_document (key text primary key, state jsonb, asked_at timestamptz not null default now());
