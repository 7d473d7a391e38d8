use anyhow::{Context as _, Result};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use uuid::Uuid;

/// The relay empties the outbox's leaves behind itself, so what was in them is noted elsewhere: by a trigger, in
/// the same transaction, and in a schema that no program of the system knows.
const POST: &str = "
create schema witness;
create table witness.event (
    id uuid not null, topic text not null, key text not null, type text not null, payload bytea,
    position bigint primary key
);
create index on witness.event (key);
create function witness.note() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into witness.event select id, aggregatetype, aggregateid, type, payload, position from added;
    return null;
end $$;
create trigger witness after insert on saga.outbox
    referencing new table as added for each statement execute function witness.note();
";

const READ: &str = "select id, topic, key, type, payload, position from witness.event order by position";

/// An event that was committed to an outbox.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Committed {
    /// Its id.
    pub id: Uuid,
    /// The full name of its topic.
    pub topic: String,
    /// Its Kafka key.
    pub key: String,
    /// Its name.
    pub r#type: String,
    /// Its data.
    pub payload: Option<Vec<u8>>,
    /// Its place in the outbox; of one key, later events have higher ones.
    pub position: i64,
}

const READ_KEY: &str =
    "select id, topic, key, type, payload, position from witness.event where key = $1 order by position";

/// Posts a witness in a database, before its service runs.
///
/// # Errors
/// If the database has no outbox, or does not answer.
pub async fn post(url: &str) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(POST))
        .execute(&mut connection)
        .await
        .context("post a witness beside the outbox")?;
    connection.close().await?;
    Ok(())
}

/// Everything that was ever committed to the outbox of this database.
///
/// # Errors
/// If the database does not answer.
pub async fn read(database: &PgPool) -> Result<Vec<Committed>> {
    Ok(sqlx::query_as(READ).fetch_all(database).await?)
}

/// What was committed about one key.
///
/// # Errors
/// If the database does not answer.
pub async fn of_key(database: &PgPool, key: &str) -> Result<Vec<Committed>> {
    Ok(sqlx::query_as(READ_KEY).bind(key).fetch_all(database).await?)
}
