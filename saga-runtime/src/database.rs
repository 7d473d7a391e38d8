//! Connections to PostgreSQL: bounded, with timeouts on everything that may wait.

use std::str::FromStr;
use std::time::Duration;

use quadrille_process::config::{Env, Secret};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{Connection as _, PgPool};

/// How statements are planned on every connection of a service.
///
/// All of them go by key, and batches are arrays of every length. So a plan is made once per connection, when
/// the table may still be empty: PostgreSQL would then read the whole of it, and go on doing so while it grows
/// until the next ANALYZE. An index on the key is right from the first row on.
pub const PLANNING: &[(&str, &str)] = &[
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// How to reach a service's database.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// As the service's own role.
    pub url: DatabaseUrl,
    /// As the role that owns the schemas; then the service migrates by itself when it starts.
    pub migrate_url: Option<DatabaseUrl>,
    /// Connections of this process at most.
    pub pool_max: u32,
    /// How long a statement may take.
    pub statement_timeout: Duration,
    /// How long a statement may wait for a lock.
    pub lock_timeout: Duration,
    /// How long a task waits for a connection.
    pub acquire_timeout: Duration,
}

/// `postgres://user:password@host[:port][,host…]/database[?sslmode=verify-full&sslrootcert=…]`.
///
/// With several hosts the first that takes writes is used, as libpq does with `target_session_attrs`. A service looks
/// again when it has lost its database.
#[derive(Clone)]
pub struct DatabaseUrl {
    hosts: Vec<PgConnectOptions>,
}

/// A database URL that cannot be read. What was found is not shown: it holds a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a database URL")]
pub struct MalformedUrl;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// None of the hosts answered as a server that takes writes.
    #[error(
        "no PostgreSQL server that takes writes among {hosts}; check DATABASE_URL, and that the server runs"
    )]
    NoPrimary {
        /// The hosts that were asked.
        hosts: String,
        /// What the last of them said.
        #[source]
        source: sqlx::Error,
    },
}

impl DatabaseConfig {
    /// Reads `DATABASE_URL`, `MIGRATE_DATABASE_URL`, `DATABASE_POOL_MAX` and the timeouts.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        const FORM: &str = "postgres://user:password@host[:port][,host[:port]]/database";
        let url = env.secret_as("DATABASE_URL", FORM);
        let migrate_url = env.optional_secret("MIGRATE_DATABASE_URL", FORM);
        let migrate_url = match migrate_url
            .as_ref()
            .map(Secret::expose)
            .map(|text| text.parse::<DatabaseUrl>())
        {
            None => None,
            Some(Ok(url)) => Some(url),
            Some(Err(_)) => {
                env.problem("MIGRATE_DATABASE_URL", None, FORM);
                None
            }
        };
        let pool_max = env.bounded("DATABASE_POOL_MAX", 8, 4..=200);
        let statement_timeout = env.duration_ms("DATABASE_STATEMENT_TIMEOUT_MS", Duration::from_secs(15));
        let lock_timeout = env.duration_ms("DATABASE_LOCK_TIMEOUT_MS", Duration::from_secs(5));
        let acquire_timeout = env.duration_ms("DATABASE_ACQUIRE_TIMEOUT_MS", Duration::from_secs(5));
        Some(Self {
            url: url?,
            migrate_url,
            pool_max,
            statement_timeout,
            lock_timeout,
            acquire_timeout,
        })
    }

    /// A pool whose commits are on disk before they return: for what somebody outside is told.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn durable_pool(&self, name: &str) -> Result<PgPool, ConnectError> {
        self.pool(name, self.pool_max.div_ceil(2), "on").await
    }

    /// A pool whose commits may be lost in a crash: for what comes again by itself, from the offset or the
    /// claim that is lost with it.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn background_pool(&self, name: &str) -> Result<PgPool, ConnectError> {
        self.pool(name, self.pool_max.div_ceil(2), "off").await
    }

    async fn pool(&self, name: &str, max: u32, synchronous_commit: &str) -> Result<PgPool, ConnectError> {
        let primary = self.url.primary(self.acquire_timeout).await?;
        let mut settings = vec![
            (
                "statement_timeout",
                self.statement_timeout.as_millis().to_string(),
            ),
            ("lock_timeout", self.lock_timeout.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", "60000".to_owned()),
            ("synchronous_commit", synchronous_commit.to_owned()),
        ];
        settings.extend(PLANNING.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let (names, values): (Vec<&str>, Vec<String>) = settings.into_iter().unzip();
        let several = self.url.hosts.len() > 1;
        Ok(PgPoolOptions::new()
            .after_connect(move |connection, _| {
                let (names, values) = (names.clone(), values.clone());
                Box::pin(async move {
                    sqlx::query(SET)
                        .bind(names)
                        .bind(values)
                        .persistent(false)
                        .execute(&mut *connection)
                        .await?;
                    // A host that was the primary may come back as a standby.
                    if several && is_standby(connection).await? {
                        return Err(standby());
                    }
                    Ok(())
                })
            })
            // Asked each time, a busy service would ask as often as it commits.
            .test_before_acquire(false)
            .before_acquire(|connection, known| {
                Box::pin(async move {
                    if known.idle_for > RESTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .max_connections(max)
            .min_connections(1)
            .acquire_timeout(self.acquire_timeout)
            .max_lifetime(Duration::from_secs(30 * 60))
            .connect_lazy_with(primary.application_name(name)))
    }

    /// Looks again which of several hosts takes writes, and lets the pools connect there from now on.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub(crate) async fn follow(&self, pools: [&PgPool; 2]) -> Result<(), ConnectError> {
        if self.url.hosts.len() < 2 {
            return Ok(());
        }
        let primary = self.url.primary(self.acquire_timeout).await?;
        for pool in pools {
            let known = pool.connect_options();
            if (known.get_host(), known.get_port()) != (primary.get_host(), primary.get_port()) {
                tracing::warn!(
                    host = primary.get_host(),
                    port = primary.get_port(),
                    "another host of the database takes writes now"
                );
                let options = PgConnectOptions::clone(&known);
                pool.set_connect_options(options.host(primary.get_host()).port(primary.get_port()));
            }
        }
        Ok(())
    }
}

/// A connection that was used a moment ago is taken to be well. One that is not costs a transaction that is tried again.
const RESTED: Duration = Duration::from_secs(1);

/// Not as part of the login: a pooler in between (PgBouncer) takes no settings there.
const SET: &str =
    "select set_config(name, value, false) from unnest($1::text[], $2::text[]) as setting (name, value)";

async fn is_standby(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select pg_is_in_recovery()")
        .fetch_one(connection)
        .await
}

fn standby() -> sqlx::Error {
    sqlx::Error::Configuration("the server is a standby".into())
}

impl DatabaseUrl {
    /// The first host that takes writes.
    ///
    /// # Errors
    /// [`ConnectError::NoPrimary`].
    pub async fn primary(&self, patience: Duration) -> Result<PgConnectOptions, ConnectError> {
        use sqlx::{ConnectOptions as _, Connection as _};
        let mut last = sqlx::Error::PoolTimedOut;
        for host in &self.hosts {
            let asked = async {
                let mut connection = host.connect().await?;
                let standby = is_standby(&mut connection).await?;
                connection.close().await?;
                Ok::<bool, sqlx::Error>(standby)
            };
            match tokio::time::timeout(patience, asked).await {
                Ok(Ok(false)) => return Ok(host.clone()),
                Ok(Ok(true)) => last = standby(),
                Ok(Err(error)) => last = error,
                Err(_) => last = sqlx::Error::PoolTimedOut,
            }
        }
        let hosts = self
            .hosts
            .iter()
            .map(|host| format!("{}:{}", host.get_host(), host.get_port()))
            .collect::<Vec<_>>();
        Err(ConnectError::NoPrimary {
            hosts: hosts.join(", "),
            source: last,
        })
    }
}

impl FromStr for DatabaseUrl {
    type Err = MalformedUrl;

    fn from_str(text: &str) -> Result<Self, MalformedUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(MalformedUrl)?;
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err(MalformedUrl);
        }
        let (authority, path) = rest.split_once('/').ok_or(MalformedUrl)?;
        if path.is_empty() || path.starts_with('?') {
            return Err(MalformedUrl);
        }
        let (login, hosts) = authority
            .rsplit_once('@')
            .map_or(("", authority), |(login, hosts)| (login, hosts));
        let at = if login.is_empty() { "" } else { "@" };
        let hosts = hosts
            .split(',')
            .map(|host| {
                format!("{scheme}://{login}{at}{host}/{path}")
                    .parse()
                    // The server's default is right, and PgBouncer would refuse the setting.
                    .map(|options: PgConnectOptions| options.extra_float_digits(None))
                    .map_err(|_| MalformedUrl)
            })
            .collect::<Result<Vec<PgConnectOptions>, MalformedUrl>>()?;
        Ok(Self { hosts })
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hosts = self.hosts.iter().map(|host| {
            format!(
                "{}:{}/{}",
                host.get_host(),
                host.get_port(),
                host.get_database().unwrap_or_default()
            )
        });
        f.debug_list().entries(hosts).finish()
    }
}

/// How many transactions of one kind a service has at the same time, if nobody says otherwise.
pub(crate) fn workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hosts_share_login_and_database() {
        let url: DatabaseUrl = "postgres://order:p%40ss@a:5432,b:5433/order?sslmode=disable"
            .parse()
            .expect("well formed");
        assert_eq!(format!("{url:?}"), r#"["a:5432/order", "b:5433/order"]"#);
    }

    #[test]
    fn a_password_is_never_printed() {
        let url: DatabaseUrl = "postgres://order:geheim@a/order".parse().expect("well formed");
        assert!(!format!("{url:?}").contains("geheim"));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for wrong in [
            "",
            "order",
            "mysql://a/b",
            "postgres://host",
            "postgres://host/",
            "postgres://host:port/db",
        ] {
            assert_eq!(
                wrong.parse::<DatabaseUrl>().map(drop),
                Err(MalformedUrl),
                "{wrong}"
            );
        }
    }
}
