use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::catalog::Database;
use super::{Error, PATIENCE, Say};

/// Outbox, engine and the service's own tables, as the role that owns them. Others who do the same are waited for.
///
/// # Errors
/// [`Error::ConnectAs`], [`Error::Migrate`].
pub async fn migrate(owner: &PgConnectOptions, database: &Database, say: Say<'_>) -> Result<(), Error> {
    let name = owner.get_database().unwrap_or(database.name).to_owned();
    // A pool of its own that ends here: when a migration fails, its connection still holds the lock.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(PATIENCE)
        .connect_with(owner.clone())
        .await
        .map_err(|source| Error::ConnectAs {
            database: name.clone(),
            role: owner.get_username().to_owned(),
            source,
        })?;
    let mut tables = (database.tables)();
    // What a newer build has applied.
    tables.set_ignore_missing(true);
    let result = if database.has_engine {
        saga_runtime::migrate::apply(&pool, &tables).await
    } else {
        tables
            .run(&pool)
            .await
            .map_err(|source| saga_runtime::migrate::Error::Apply {
                what: "the service",
                source,
            })
    };
    pool.close().await;
    result.map_err(|source| Error::Migrate {
        database: name.clone(),
        source,
    })?;
    let what = if database.has_engine {
        "outbox, engine and its own tables"
    } else {
        "its own tables"
    };
    say(&format!("database {name}: {what} are up to date"));
    Ok(())
}
