//! The engine's own tables: applied as the role that owns the schemas, checked by everybody else.

use sqlx::PgPool;
use sqlx::migrate::{Migrate as _, MigrateError, Migrator};

const OUTBOX_TABLE: &str = "saga._outbox_migrations";
const ENGINE_TABLE: &str = "saga._migrations";

/// Why a database cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A migration failed; nothing of it is left.
    #[error("migrating {what} failed")]
    Apply {
        /// Outbox, engine, or the service's own tables.
        what: &'static str,
        /// What went wrong.
        #[source]
        source: MigrateError,
    },
    /// The tables are older than this build.
    #[error(
        "the database lacks {missing} migration(s) of {what}; run 'sagactl migrate', or give the service MIGRATE_DATABASE_URL"
    )]
    Behind {
        /// Outbox, engine, or the service's own tables.
        what: &'static str,
        /// How many are missing.
        missing: usize,
    },
    /// The database did not answer.
    #[error("cannot read which migrations of {what} were applied")]
    Read {
        /// Outbox, engine, or the service's own tables.
        what: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
}

/// Outbox and engine, then the service's own `service` migrations. Safe when several start at once: each
/// waits for an advisory lock. Connect as the role that owns the schemas. A newer database is left as it is.
///
/// # Errors
/// [`Error::Apply`].
pub async fn apply(owner: &PgPool, service: &Migrator) -> Result<(), Error> {
    for (what, mut migrator) in [
        ("outbox", outbox()),
        ("engine", engine()),
        (
            "the service",
            Migrator::with_migrations(service.iter().cloned().collect()),
        ),
    ] {
        // What a newer build has applied: this one may start again while that one is rolled out.
        migrator.set_ignore_missing(true);
        migrator
            .run(owner)
            .await
            .map_err(|source| Error::Apply { what, source })?;
    }
    let_read(owner).await.map_err(|source| Error::Apply {
        what: "the service",
        source,
    })
}

/// Under the lock that a migration takes: to two who give rights on one table at the same time PostgreSQL
/// answers "tuple concurrently updated".
async fn let_read(owner: &PgPool) -> Result<(), MigrateError> {
    let mut connection = owner.acquire().await?;
    // The lock is the session's, and ends with it, also where this is given up in between.
    connection.close_on_drop();
    connection.lock().await?;
    sqlx::raw_sql(LET_READ).execute(&mut *connection).await?;
    connection.unlock().await
}

/// Whether everything that this build needs was applied. A newer database is fine: an old build goes on
/// while a new one is rolled out.
///
/// # Errors
/// [`Error::Behind`], [`Error::Read`].
pub async fn check(pool: &PgPool, service: &Migrator) -> Result<(), Error> {
    let parts = [
        ("outbox", OUTBOX_TABLE, &outbox()),
        ("engine", ENGINE_TABLE, &engine()),
        ("the service", "_sqlx_migrations", service),
    ];
    for (what, table, migrator) in parts {
        let applied: Vec<i64> = match table {
            OUTBOX_TABLE => sqlx::query_scalar(READ_OUTBOX),
            ENGINE_TABLE => sqlx::query_scalar(READ_ENGINE),
            _ => sqlx::query_scalar(READ_SERVICE),
        }
        .fetch_all(pool)
        .await
        .or_else(|error| match &error {
            // No such table or schema: nothing was applied.
            sqlx::Error::Database(cause)
                if cause
                    .code()
                    .is_some_and(|code| code == "42P01" || code == "3F000") =>
            {
                Ok(Vec::new())
            }
            _ => Err(error),
        })
        .map_err(|source| Error::Read { what, source })?;
        let missing = migrator
            .iter()
            .filter(|migration| !applied.contains(&migration.version))
            .count();
        if missing > 0 {
            return Err(Error::Behind { what, missing });
        }
    }
    Ok(())
}

/// So that those who do not migrate can tell whether the tables are the ones that they were built for.
const LET_READ: &str = "\
select saga.grant_to(role, 'select on saga._outbox_migrations, saga._migrations, _sqlx_migrations')
  from (values (''), ('_relay'), ('_ops')) as r (role)";

const READ_OUTBOX: &str = "select version from saga._outbox_migrations where success";
const READ_ENGINE: &str = "select version from saga._migrations where success";
const READ_SERVICE: &str = "select version from _sqlx_migrations where success";

/// The statements of this module.
pub(crate) const STATEMENTS: &[(&str, &str)] = &[
    ("read_outbox", READ_OUTBOX),
    ("read_engine", READ_ENGINE),
    ("read_service", READ_SERVICE),
];

/// All that a user of the relay alone needs.
fn outbox() -> Migrator {
    let mut migrator = sqlx::migrate!("./migrations/outbox");
    migrator.dangerous_set_table_name(OUTBOX_TABLE);
    migrator.create_schema("saga");
    migrator
}

/// What the engine remembers beside a service's own tables.
fn engine() -> Migrator {
    let mut migrator = sqlx::migrate!("./migrations/engine");
    migrator.dangerous_set_table_name(ENGINE_TABLE);
    migrator.create_schema("saga");
    migrator
}
