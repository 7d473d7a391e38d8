use std::str::FromStr;
use std::time::{Duration, Instant};

use quadrille_process::Chain;
use quadrille_process::config::Secret;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

/// What the tables are made with.
pub static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sandbox");

pub(super) const PROBE: &str = "select 1";
const APPLIED: &str = "select version from _sqlx_migrations where success";

pub(super) const ALL: &[(&str, &str)] = &[("PROBE", PROBE), ("APPLIED", APPLIED)];

/// Why the tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    /// Not a URL of PostgreSQL.
    #[error("reading the database's URL, which is not shown")]
    Url(#[source] sqlx::Error),
    /// It was not reached in time.
    #[error("connecting to the database (for {waited_s} s)")]
    Unreachable {
        waited_s: u64,
        #[source]
        cause: sqlx::Error,
    },
    /// Migrating failed.
    #[error("migrating the database")]
    Migrate(#[source] MigrateError),
    /// The tables are not those that we were built for.
    #[error(
        "the database lacks migration {missing} of migrations/sandbox: run `sagactl migrate`, \
         or start with SANDBOX_MIGRATE_DATABASE_URL"
    )]
    Behind { missing: i64 },
}

fn options(url: &Secret<String>) -> Result<PgConnectOptions, SchemaError> {
    let options = PgConnectOptions::from_str(url.expose()).map_err(SchemaError::Url)?;
    Ok(options.application_name("payment-sandbox").options([
        // Everything that we commit is answered to an outsider, or is about to be.
        ("synchronous_commit", "on"),
        ("statement_timeout", "10s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "30s"),
    ]))
}

/// A pool that connects when it is used.
pub(crate) fn connect(url: &Secret<String>, pool_max: u32) -> Result<PgPool, SchemaError> {
    let pool = PgPoolOptions::new()
        .max_connections(pool_max)
        .acquire_timeout(Duration::from_secs(5))
        // A broken connection shows itself by an error, and the caller calls again; a ping before each
        // statement would double the round trips.
        .test_before_acquire(false);
    Ok(pool.connect_lazy_with(options(url)?))
}

/// Waits until the database answers: everything may have been started at the same time.
pub(crate) async fn wait_for(url: &Secret<String>, patience: Duration) -> Result<(), SchemaError> {
    let options = options(url)?;
    let began = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        match PgConnection::connect_with(&options).await {
            Ok(connection) => {
                connection.close().await.ok();
                return Ok(());
            }
            Err(cause) if began.elapsed() >= patience => {
                return Err(SchemaError::Unreachable {
                    waited_s: began.elapsed().as_secs(),
                    cause,
                });
            }
            Err(error) => {
                tracing::info!(cause = %Chain(&error), "waiting for the database");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
}

/// Brings the tables up to date, as the role that owns them. Safe when several do it at once.
pub(crate) async fn migrate(url: &Secret<String>) -> Result<(), SchemaError> {
    let options = PgConnectOptions::from_str(url.expose()).map_err(SchemaError::Url)?;
    let mut connection = PgConnection::connect_with(&options)
        .await
        .map_err(|cause| SchemaError::Unreachable { waited_s: 0, cause })?;
    MIGRATIONS
        .run(&mut connection)
        .await
        .map_err(SchemaError::Migrate)?;
    connection.close().await.ok();
    Ok(())
}

/// Whether every migration that we know was applied. One that we do not know is none of our business:
/// the next version may be rolling out.
pub(crate) async fn check_schema(pool: &PgPool) -> Result<(), SchemaError> {
    let first = MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .min()
        .unwrap_or(0);
    let applied: Vec<i64> = match sqlx::query_scalar(APPLIED).fetch_all(pool).await {
        Ok(applied) => applied,
        // No table of migrations, or none that we may read: nothing was applied for us.
        Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("42P01" | "42501")) => {
            return Err(SchemaError::Behind { missing: first });
        }
        Err(cause) => return Err(SchemaError::Unreachable { waited_s: 0, cause }),
    };
    match MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .find(|version| !applied.contains(version))
    {
        Some(missing) => Err(SchemaError::Behind { missing }),
        None => Ok(()),
    }
}
