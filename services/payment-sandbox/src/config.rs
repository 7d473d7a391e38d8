use std::net::SocketAddr;
use std::time::Duration;

use quadrille_process::config::{Env, Secret};
use quadrille_process::webhook::WebhookSecret;

const URL_FORM: &str = "postgres://user:password@host[:port]/database";

/// Everything that the sandbox is told by its environment.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the API and the hosted pages are.
    pub listen: SocketAddr,
    /// How a browser reaches us: the beginning of a page's address. Default: `http://<listen>`.
    pub public_url: Option<String>,
    /// The bearer token of the one merchant.
    pub api_key: Secret<String>,
    /// Its books, as role `sandbox`.
    pub database_url: Secret<String>,
    /// The same as the role that owns the tables: migrations are applied at start.
    pub migrate_database_url: Option<Secret<String>>,
    /// Connections to the database.
    pub pool_max: u32,
    /// Where webhooks go.
    pub webhook_url: String,
    /// What they are signed with.
    pub webhook_secret: WebhookSecret,
    /// The wait after the first failed delivery; it doubles up to 64 times that.
    pub webhook_retry: Duration,
    /// After so many failed deliveries a webhook is given up; it stays visible and can be sent again.
    pub webhook_attempts_max: i32,
    /// How long a charge with `tok_slow` takes.
    pub slow: Duration,
}

impl Config {
    /// Reads it; `None` if a problem was noted.
    pub fn read(env: &mut Env) -> Option<Config> {
        let listen = env.required("LISTEN", "address:port of the API and the hosted pages");
        let public_url = env.optional(
            "PUBLIC_URL",
            "http[s]://host[:port] under which a browser reaches the pages",
        );
        let api_key = env.secret("API_KEY", "bearer token of the merchant");
        let database_url = env.secret("DATABASE_URL", URL_FORM);
        let migrate_database_url = env.optional_secret(
            "MIGRATE_DATABASE_URL",
            &format!("{URL_FORM} of the role that owns the tables"),
        );
        let pool_max = env.bounded("DATABASE_POOL_MAX", 8, 2..=200);
        let webhook_url = env.required("WEBHOOK_URL", "http[s]://host[:port]/path");
        let webhook_secret = env.secret_as("WEBHOOK_SECRET", "whsec_ and the base64 of 24 to 64 bytes");
        let webhook_retry = env.duration_ms("WEBHOOK_RETRY_MS", Duration::from_secs(1));
        let webhook_attempts_max = env.bounded("WEBHOOK_ATTEMPTS_MAX", 30, 1..=1000);
        let slow = env.duration_ms("SLOW_MS", Duration::from_secs(3));
        Some(Config {
            listen: listen?,
            public_url,
            api_key: api_key?,
            database_url: database_url?,
            migrate_database_url,
            pool_max,
            webhook_url: webhook_url?,
            webhook_secret: webhook_secret?,
            webhook_retry,
            webhook_attempts_max,
            slow,
        })
    }
}
