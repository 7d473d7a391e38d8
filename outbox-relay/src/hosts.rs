use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgConnectOptions;

use crate::outbox::connection::connect;
use crate::outbox::error::{OutboxError, within};
use crate::outbox::sql;

/// The servers of one database. Of several, the first that takes writes is used.
///
/// Made from `postgres://role:password@host[:port][,host…]/database[?sslmode=verify-full&sslrootcert=…]`.
#[derive(Clone)]
pub struct Hosts(Vec<PgConnectOptions>);

/// A database URL that cannot be read. What was found is not shown: it holds a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a database URL")]
pub struct BadDatabaseUrl;

const PATIENCE: Duration = Duration::from_secs(5);

impl Hosts {
    /// The first that takes writes. A single one is not asked.
    ///
    /// # Errors
    /// [`OutboxError::NoPrimary`].
    pub async fn primary(&self) -> Result<PgConnectOptions, OutboxError> {
        if let [only] = self.0.as_slice() {
            return Ok(only.clone());
        }
        let mut last = OutboxError::Standby;
        for host in &self.0 {
            match is_standby(host).await {
                Ok(false) => return Ok(host.clone()),
                Ok(true) => {}
                Err(error) => last = error,
            }
        }
        let hosts: Vec<String> = self.0.iter().map(address).collect();
        Err(OutboxError::NoPrimary {
            hosts: hosts.join(", "),
            source: Box::new(last),
        })
    }
}

async fn is_standby(host: &PgConnectOptions) -> Result<bool, OutboxError> {
    let mut connection = connect(host, PATIENCE).await?;
    let standby = within(
        PATIENCE,
        "looking for the server that takes writes",
        sqlx::query_scalar(sql::IS_STANDBY).fetch_one(&mut connection),
    )
    .await?;
    connection.close().await.ok();
    Ok(standby)
}

fn address(host: &PgConnectOptions) -> String {
    format!("{}:{}", host.get_host(), host.get_port())
}

impl From<PgConnectOptions> for Hosts {
    fn from(only: PgConnectOptions) -> Self {
        Self(vec![only])
    }
}

impl FromStr for Hosts {
    type Err = BadDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, BadDatabaseUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(BadDatabaseUrl)?;
        // sqlx takes any scheme for PostgreSQL's.
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err(BadDatabaseUrl);
        }
        let (authority, path) = rest.split_once('/').ok_or(BadDatabaseUrl)?;
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (format!("{login}@"), hosts),
            None => (String::new(), authority),
        };
        let host = |host| {
            let options: PgConnectOptions = format!("{scheme}://{login}{host}/{path}").parse()?;
            // The server's default is right, and PgBouncer refuses the setting.
            Ok(options.extra_float_digits(None))
        };
        let hosts: Result<_, sqlx::Error> = hosts.split(',').map(host).collect();
        hosts.map(Self).map_err(|_| BadDatabaseUrl)
    }
}

/// Without the password.
impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |host: &PgConnectOptions| {
            format!("{}/{}", address(host), host.get_database().unwrap_or_default())
        };
        f.debug_list().entries(self.0.iter().map(name)).finish()
    }
}
