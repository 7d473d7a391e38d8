use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, PgPool};

static OUTBOX: Migrator = sqlx::migrate!("./migrations");

/// The outbox's own table of migrations: it shares databases with the engine's and the service's.
pub const TABLE: &str = "saga._outbox_migrations";

/// Why the outbox could not be migrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// There is no connection to be had.
    #[error("connecting to migrate the outbox")]
    Connect(#[source] sqlx::Error),
    /// A migration failed, or what was applied is not what we have.
    #[error("migrating the outbox")]
    Migrate(#[source] MigrateError),
}

/// Brings the outbox's tables up to date, as the role that owns them (`<svc>_migrate`). Several processes
/// may do so at once.
///
/// # Errors
/// [`MigrationError`] says which step failed.
pub async fn outbox(pool: &PgPool) -> Result<(), MigrationError> {
    // Not one of the pool's: the lock that keeps others out belongs to the connection, and sqlx leaves it
    // held when a migration fails.
    let mut connection = pool.acquire().await.map_err(MigrationError::Connect)?.detach();
    let mut migrator = Migrator::with_migrations(OUTBOX.iter().cloned().collect());
    migrator.dangerous_set_table_name(TABLE);
    migrator.create_schema("saga");
    // What a newer relay or service has applied.
    migrator.set_ignore_missing(true);
    let migrated = migrator.run_direct(None, &mut connection, false).await;
    connection.close().await.map_err(MigrationError::Connect)?;
    migrated.map_err(MigrationError::Migrate)
}
