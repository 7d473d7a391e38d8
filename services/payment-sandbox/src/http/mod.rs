/// Charges.
mod charges;

/// Refunds.
mod refunds;

/// Pages, as their merchant sees them.
mod pages;

/// Pages, as the customer sees them.
mod hosted_page;

/// The books, for who audits them.
mod books;

/// Misbehaviour on request, and webhooks as an operator sees them.
mod testing;

/// What comes in, checked.
mod request;

/// What goes out, also when it gets lost.
mod answer;

/// Errors as the caller sees them.
mod problem;

/// Spans and durations.
mod observe;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use quadrille_process::config::Secret;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

pub(crate) use problem::Problem;

use crate::faults::Faults;
use crate::idempotency::InFlight;
use crate::ledger::Ledger;
use crate::store::Store;
use crate::token::Refusals;
use crate::webhooks::Held;

/// What handlers share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    pub(crate) in_flight: InFlight,
    pub(crate) faults: Arc<Faults>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) api_key: Arc<Secret<String>>,
    /// The beginning of a page's address, without a slash at the end.
    pub(crate) public_url: Arc<str>,
    pub(crate) slow: Duration,
    /// Rung when a webhook was written.
    pub(crate) bell: Arc<Notify>,
    /// Holds webhooks back.
    pub(crate) held: Arc<Mutex<Held>>,
    pub(crate) stop: CancellationToken,
}

/// Far more than any request of this API needs.
const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// The merchant's API under `/v1`, behind the key, and the customer's pages, open to who knows their
/// address.
pub(crate) fn router(app: App) -> Router {
    let merchant = Router::new()
        .route("/charges", post(charges::create).get(charges::find))
        .route("/charges/{charge}/refunds", post(refunds::create))
        .route("/refunds", get(refunds::find))
        .route("/pages", post(pages::open).get(pages::find))
        .route("/pages/{reference}/close", post(pages::close))
        .route("/books", get(books::list))
        .route("/webhooks", get(testing::webhooks))
        .route("/webhooks/{id}/resend", post(testing::resend))
        .route("/test/webhooks", post(testing::hold))
        .route(
            "/test/faults",
            post(testing::add_fault)
                .get(testing::faults)
                .delete(testing::clear_faults),
        )
        .route("/test/forget-idempotency-keys", post(testing::forget))
        .route_layer(middleware::from_fn_with_state(app.clone(), authorize));
    Router::new()
        .nest("/v1", merchant)
        .route("/pages/{id}", get(hosted_page::show))
        .route("/pages/{id}/pay", post(hosted_page::pay))
        .route("/pages/{id}/decline", post(hosted_page::decline))
        .fallback(|| async { Problem::not_found("no such route") })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(middleware::from_fn(observe::observe))
        .with_state(app)
}

async fn authorize(State(app): State<App>, request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION);
    let key = header
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    match key {
        Some(key) if app.api_key.matches(key.trim()) => next.run(request).await,
        _ => Problem::unauthorized().into_response(),
    }
}
