//! What the provider reports, unasked: signed HTTP posts that come at least once, in any order, and perhaps
//! before the answer to the call that they are about.
//!
//! `POST /webhooks/payments`, as the Standard Webhooks specification has it. The signature is checked over the
//! bytes as they came, before anything in them is looked at.
//!
//! | answer | when |
//! |---|---|
//! | 204 | it is noted, on disk; or it was before; or it is of a type that is none of our business |
//! | 400 | signed by the provider, and still not readable |
//! | 401 | no signature of ours, or too old: nothing of it is looked at or stored |
//! | 404 | we know no page by this reference |
//! | 409 | the same id with another body |
//! | 413, 408 | too long, too slow |
//! | 422 | another amount than the order costs |
//! | 503 | database away, payment parked, report not to be stored, too much to do: it is to come again |
//!
//! Everything but 2xx makes the provider send it again and keep it in sight. That is what we want of an unknown
//! reference, too: a page is asked for only after its payment was stored, so it is a stranger's, or our
//! database is behind what it was and will catch up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use quadrille_process::webhook::WebhookSecret;
use saga_runtime::Commands;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::WebhookConfig;
use crate::participant::Payments;

/// Errors as problem details.
mod problem;
/// From the bytes that came to what is asked of the participant.
mod report;
/// Takes one webhook in.
mod take;

/// Where they are posted to.
pub const PATH: &str = "/webhooks/payments";

/// Far more than any report has.
const BODY_MAX_BYTES: usize = 64 * 1024;
/// More than this at the same time are put off.
const AT_ONCE: usize = 256;
/// How long one may take to arrive, and again to be stored. Providers wait for 10 to 30 seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The endpoint, with its port taken.
#[derive(Debug)]
pub struct Webhooks {
    listener: TcpListener,
    address: SocketAddr,
    endpoint: Endpoint,
}

/// What a request needs.
#[derive(Clone, Debug)]
struct Endpoint {
    commands: Commands<Payments>,
    pool: PgPool,
    secret: WebhookSecret,
    free: Arc<Semaphore>,
}

/// The address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen} for webhooks")]
pub struct ListenError {
    listen: SocketAddr,
    #[source]
    source: std::io::Error,
}

impl Webhooks {
    /// Takes the port. `commands` and `pool` commit to disk before they answer.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(
        config: WebhookConfig,
        commands: Commands<Payments>,
        pool: PgPool,
    ) -> Result<Self, ListenError> {
        let listen = config.listen;
        let failed = |source| ListenError { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            endpoint: Endpoint {
                commands,
                pool,
                secret: config.secret,
                free: Arc::new(Semaphore::new(AT_ONCE)),
            },
        })
    }

    /// Where it listens: of use if the port was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes webhooks in until it is told to stop, then finishes those that it has, for `grace` at most.
    pub async fn serve(self, stop: CancellationToken, grace: Duration) {
        tracing::info!(address = %self.address, "webhook port is open");
        let router = Router::new()
            .route(PATH, post(take::take))
            .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
            .with_state(self.endpoint);
        let listener = self.listener.tap_io(|connection| {
            // Answers are small and somebody waits for each.
            if let Err(error) = connection.set_nodelay(true) {
                tracing::debug!(%error, "no TCP_NODELAY");
            }
        });
        let server = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::select! {
            result = server => if let Err(error) = result {
                tracing::error!(%error, "the webhook server failed");
            },
            () = async { stop.cancelled().await; tokio::time::sleep(grace).await } => {
                tracing::warn!(grace_ms = grace.as_millis(), "webhook connections are still open; they are cut");
            }
        }
    }
}
