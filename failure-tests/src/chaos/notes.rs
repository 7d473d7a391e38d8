use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, PgPool};

use crate::system::System;

/// The relay empties the outbox behind itself, so every event is noted elsewhere: by a trigger, in the same transaction, and
/// in a schema that no program of the shop knows. Of what it says a digest is enough, and of a million sagas all that
/// there is room for.
const EVENTS: &str = "
create schema witness;
create table witness.event (
    position bigint primary key, digest bigint not null, dead boolean not null, key text not null, type text not null
);
create function witness.note() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into witness.event
    select position,
           ('x' || left(encode(sha256(convert_to(concat_ws('|', id, aggregatetype, aggregateid, type, ''), 'UTF8')
                                      || coalesce(payload, '')), 'hex'), 16))::bit(64)::bigint,
           aggregatetype like '%-dlt', aggregateid, type
      from added;
    return null;
end $$;
create trigger witness after insert on saga.outbox
    referencing new table as added for each statement execute function witness.note();
";

/// When an order was taken and when it ended, on the database's clock: what the service says of it is on a clock that
/// jumps.
const LIVES: &str = "
create table witness.life (order_id uuid primary key, is_card boolean not null, taken_at timestamptz not null,
                           ended_at timestamptz);
create index on witness.life (taken_at) where ended_at is null;
create function witness.is_born() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into witness.life values (new.id, new.method = 'card', clock_timestamp());
    return null;
end $$;
create function witness.has_ended() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update witness.life set ended_at = clock_timestamp() where order_id = new.id;
    return null;
end $$;
create trigger is_born after update on orders
    for each row when (old.status is null and new.status is not null) execute function witness.is_born();
create trigger has_ended after update on orders
    for each row when (old.ended_at is null and new.ended_at is not null) execute function witness.has_ended();
";

/// Posts the witnesses, before any program runs.
pub(crate) async fn post(system: &System) -> Result<()> {
    for name in system.outboxes() {
        let database = system.database(name).await?;
        raw(&database, EVENTS).await?;
        if *name == "order" {
            raw(&database, LIVES).await?;
        }
        database.close().await;
    }
    Ok(())
}

async fn raw(database: &PgPool, sql: &'static str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(database)
        .await
        .context("post a witness")?;
    Ok(())
}

/// What [`EVENTS`] would note of an event.
pub(crate) fn digest(id: &str, topic: &str, key: &str, r#type: &str, payload: &[u8]) -> i64 {
    let mut hash = Sha256::new();
    for part in [id, topic, key, r#type] {
        hash.update(part.as_bytes());
        hash.update(b"|");
    }
    hash.update(payload);
    let whole = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&whole[..8]);
    i64::from_be_bytes(first)
}
