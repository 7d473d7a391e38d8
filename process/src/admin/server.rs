use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{Health, process_metrics};
use crate::telemetry::Telemetry;

/// The admin port of a process.
#[derive(Debug, Clone)]
pub struct Admin {
    address: SocketAddr,
    /// Routes that were merged after the port was opened.
    merged: Arc<RwLock<Router>>,
}

#[derive(Clone)]
struct Shared {
    health: Health,
    telemetry: Telemetry,
    merged: Arc<RwLock<Router>>,
}

impl Admin {
    /// Opens the port and serves it until `shutdown` is cancelled.
    ///
    /// It should outlive the work that it reports on, so its token is not the one that stops the work.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(
        listen: SocketAddr,
        health: Health,
        telemetry: Telemetry,
        shutdown: CancellationToken,
    ) -> std::io::Result<Admin> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let merged = Arc::new(RwLock::new(Router::new()));
        let shared = Shared {
            health,
            telemetry,
            merged: Arc::clone(&merged),
        };
        let router = Router::new()
            .route("/live", get(|| async { "live\n" }))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .fallback(dispatch)
            .with_state(shared);
        let server = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
        tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "admin port stopped");
            }
        });
        Ok(Admin { address, merged })
    }

    /// Where it listens; the port was chosen by the system if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds routes, e.g. an operator's verbs. `/live`, `/ready` and `/metrics` cannot be replaced.
    ///
    /// # Panics
    /// When a route is already there, as [`Router::merge`] does.
    pub fn merge(&self, routes: Router) {
        let mut merged = self.merged.write().unwrap_or_else(PoisonError::into_inner);
        *merged = merged.clone().merge(routes);
    }
}

async fn ready(State(shared): State<Shared>) -> Response {
    let report = shared.health.report();
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report)).into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    process_metrics::record();
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    (
        [(header::CONTENT_TYPE, content_type)],
        shared.telemetry.metrics_text(),
    )
        .into_response()
}

async fn dispatch(State(shared): State<Shared>, request: Request) -> Response {
    let merged = shared
        .merged
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    match merged.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
