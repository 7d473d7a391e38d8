use anyhow::{Context as _, Result};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// Of every role.
const PASSWORD: &str = "test";

/// A database of its own, with the roles of a real installation, and nothing in it.
#[derive(Clone, Debug)]
pub struct Database {
    server: String,
    service: &'static str,
    name: String,
}

impl Database {
    /// Makes it, with the service's roles, on the server of a superuser's URL.
    ///
    /// # Errors
    /// If the server is not there, or has a database of this name.
    pub async fn create(admin_url: &str, service: &'static str, name: String) -> Result<Self> {
        let mut admin = PgConnection::connect(admin_url).await?;
        // Roles are the whole cluster's, and tests run at the same time. The lock ends with the connection.
        let mut roles = "select pg_advisory_lock(20260801);".to_owned();
        for role in ["", "_migrate", "_relay", "_ops"].map(|suffix| format!("{service}{suffix}")) {
            roles.push_str(&format!(
                "do $$ begin create role \"{role}\"; exception when duplicate_object then null; end $$;
                 alter role \"{role}\" login password '{PASSWORD}';"
            ));
        }
        sqlx::raw_sql(AssertSqlSafe(roles)).execute(&mut admin).await?;
        let create = format!("create database \"{name}\" owner \"{service}_migrate\"");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut admin).await?;
        admin.close().await?;
        let server = admin_url
            .rsplit_once('@')
            .and_then(|(_, rest)| rest.split(['/', '?']).next())
            .context("the administrator's URL has a login")?;
        Ok(Self {
            server: server.to_owned(),
            service,
            name,
        })
    }

    /// As one of the service's roles, by its suffix: `""`, `_migrate`, `_relay`, `_ops`.
    pub fn url(&self, suffix: &str) -> String {
        let Self {
            server,
            service,
            name,
        } = self;
        format!("postgres://{service}{suffix}:{PASSWORD}@{server}/{name}")
    }
}
