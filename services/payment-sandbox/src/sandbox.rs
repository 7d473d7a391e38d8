use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use quadrille_process::{Failure, Health, Process};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::faults::Faults;
use crate::http::{self, App};
use crate::idempotency::InFlight;
use crate::ledger::Ledger;
use crate::store::{self, SchemaError, Store};
use crate::token::Refusals;
use crate::{housekeeping, webhooks};

/// How long the database may take to come up beside us.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);

/// A sandbox that serves.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    parts: Vec<JoinHandle<()>>,
}

/// Why a sandbox does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The books cannot be used.
    #[error("opening the books")]
    Books(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The address cannot be used.
    #[error("listening on {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// The client for webhooks cannot be made.
    #[error("making the client for webhooks")]
    Client(#[source] reqwest::Error),
}

impl From<SchemaError> for StartError {
    fn from(error: SchemaError) -> StartError {
        StartError::Books(Box::new(error))
    }
}

impl Sandbox {
    /// Opens the books (migrating them, if that was asked for), then the port.
    ///
    /// Needs a provider of cryptography ([`quadrille_process::tls::install_crypto`]).
    ///
    /// # Errors
    /// When the database is not there or lacks a migration, or the port is taken.
    pub async fn start(
        config: Config,
        health: Health,
        stop: CancellationToken,
    ) -> Result<Sandbox, StartError> {
        health.required("database");
        let first = config
            .migrate_database_url
            .as_ref()
            .unwrap_or(&config.database_url);
        store::wait_for(first, DATABASE_PATIENCE).await?;
        if let Some(url) = &config.migrate_database_url {
            store::migrate(url).await?;
        }
        let pool = store::connect(&config.database_url, config.pool_max)?;
        store::check_schema(&pool).await?;
        let store = Store::new(pool);
        let client = webhooks::client().map_err(StartError::Client)?;
        let listen = config.listen;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|cause| StartError::Listen { listen, cause })?;
        let address = listener
            .local_addr()
            .map_err(|cause| StartError::Listen { listen, cause })?;

        let bell = Arc::new(Notify::new());
        let held = Arc::new(Mutex::new(webhooks::Held::default()));
        let (ledger, writer) = Ledger::open(store.clone());
        let sender = webhooks::Sender {
            store: store.clone(),
            client,
            url: config.webhook_url,
            secret: config.webhook_secret,
            retry: config.webhook_retry,
            attempts_max: config.webhook_attempts_max,
            bell: Arc::clone(&bell),
            held: Arc::clone(&held),
        };
        let public_url = config.public_url.unwrap_or_else(|| format!("http://{address}"));
        let app = App {
            store: store.clone(),
            ledger,
            in_flight: InFlight::default(),
            faults: Arc::new(Faults::default()),
            refusals: Arc::new(Refusals::default()),
            api_key: Arc::new(config.api_key),
            public_url: public_url.trim_end_matches('/').into(),
            slow: config.slow,
            bell: Arc::clone(&bell),
            held,
            stop: stop.clone(),
        };
        let server = serve(listener, app, stop.clone());
        let parts = vec![
            tokio::spawn(server),
            writer,
            tokio::spawn(sender.run(stop.clone())),
            tokio::spawn(housekeeping::run(store, health, bell, stop)),
        ];
        Ok(Sandbox { address, parts })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until everything that was begun is finished, after the token was cancelled.
    pub async fn stopped(self) {
        for part in self.parts {
            if let Err(error) = part.await {
                tracing::error!(%error, "a part ended badly");
            }
        }
    }
}

async fn serve(listener: TcpListener, app: App, stop: CancellationToken) {
    let listener = listener.tap_io(|connection| {
        // Answers are small and somebody waits for each.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
    });
    let server = axum::serve(listener, http::router(app)).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = server.await {
        tracing::error!(%error, "server stopped");
    }
}

/// The work of the process: serves until it is told to stop.
///
/// # Errors
/// When it cannot start; a database that is not there or not migrated is [`Failure::unavailable`].
pub async fn run_until_stopped(config: Config, process: Process) -> Result<(), Failure> {
    let webhook_url = config.webhook_url.clone();
    let sandbox = Sandbox::start(config, process.health, process.shutdown.clone())
        .await
        .map_err(Failure::unavailable)?;
    tracing::info!(address = %sandbox.address(), webhook_url, "serving");
    sandbox.stopped().await;
    Ok(())
}
