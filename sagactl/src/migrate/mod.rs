//! `sagactl migrate`: databases, roles, tables and topics, from nothing or from any older state.
//!
//! Every step may be repeated, and several may run at the same time. Tests call [`databases`] and
//! [`topics::create`] for databases and topics of their own, which have a prefix.

/// The databases and their roles.
mod catalog;

/// The passwords of the roles.
mod passwords;

/// What a password looks like to PostgreSQL.
mod scram;

/// Databases, roles and rights, as an administrator.
mod provision;

/// Tables, as the role that owns them.
mod schema;

/// Topics, from the registry.
pub mod topics;

use std::time::Duration;

use futures::future::try_join_all;
use saga_runtime::database::{ConnectError, DatabaseUrl};
use sqlx::postgres::PgConnectOptions;

pub use catalog::{DATABASES, Database, Duty};
pub use passwords::{Passwords, PasswordsError};
pub use schema::migrate as tables;

/// Tells whoever waits what was just done: one line, without a full stop.
pub type Say<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Where databases are made, under which names, and with which passwords.
#[derive(Clone, Debug)]
pub struct Target {
    /// Somebody who may create databases and roles.
    pub admin_url: DatabaseUrl,
    /// What comes before the names of the databases. Roles have none: they belong to the server.
    pub prefix: String,
    /// The password of each role.
    pub passwords: Passwords,
}

/// Why there are no databases.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection to be had.
    #[error("cannot reach PostgreSQL")]
    Connect(#[source] ConnectError),
    /// There is none as one of the roles.
    #[error("cannot connect to database {database} as {role}")]
    ConnectAs {
        /// Which database.
        database: String,
        /// As whom.
        role: String,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
    /// A role has no password, or one that cannot be used.
    #[error(transparent)]
    Passwords(#[from] PasswordsError),
    /// The server refused a step.
    #[error("cannot {doing}")]
    Refused {
        /// Which.
        doing: String,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
    /// A migration failed; nothing of it is left.
    #[error("database {database} cannot be migrated")]
    Migrate {
        /// Which database.
        database: String,
        /// Which part, and why.
        #[source]
        source: saga_runtime::migrate::Error,
    },
    /// A name from outside that is none of [`DATABASES`].
    #[error("there is no database {0}; there are product, order, inventory, payment and sandbox")]
    Unknown(String),
}

/// How long a server may take to answer the first time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the databases and roles that are missing, sets rights and passwords, and migrates the tables.
///
/// # Errors
/// [`Error`]; what was done before stays, and the next run goes on from there.
pub async fn databases(target: &Target, wanted: &[Database], say: Say<'_>) -> Result<(), Error> {
    target.passwords.check(wanted)?;
    let admin = target.admin_url.primary(PATIENCE).await.map_err(Error::Connect)?;
    provision::run(&admin, target, wanted, say).await?;
    let migrations = wanted.iter().map(|database| {
        let owner = target.login(&admin, database, Duty::Migrate);
        async move { schema::migrate(&owner, database, say).await }
    });
    try_join_all(migrations).await.map(drop)
}

impl Target {
    /// The name of a database on this server.
    pub fn name(&self, database: &Database) -> String {
        format!("{}{}", self.prefix, database.name)
    }

    /// How a role of a database logs in, on the server and with the settings of the administrator's URL.
    pub fn login(&self, admin: &PgConnectOptions, database: &Database, duty: Duty) -> PgConnectOptions {
        let role = database.role(duty);
        admin
            .clone()
            .username(&role)
            .password(self.passwords.of(&role))
            .database(&self.name(database))
    }
}
