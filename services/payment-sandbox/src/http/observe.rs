use std::panic::resume_unwind;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use metrics::histogram;
use quadrille_process::telemetry;
use tracing::{Instrument, field, info_span};

/// A span and a duration for each request, in the caller's trace; and each comes to its end.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    let method = request.method().clone();
    let span = info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method.as_str(),
        http.route = route,
        http.response.status_code = field::Empty,
    );
    if let Some(traceparent) = text(request.headers(), "traceparent") {
        telemetry::set_parent(&span, traceparent, text(request.headers(), "tracestate"));
    }
    let began = Instant::now();
    // A caller who hangs up must not stop a request half way: what sqlx had begun by then it takes for nothing, and gives the
    // connection to the next one, who books into a transaction that nobody commits.
    let running = tokio::spawn(next.run(request).instrument(span.clone()));
    let response = match running.await {
        Ok(response) => response,
        Err(ended) if ended.is_panic() => resume_unwind(ended.into_panic()),
        // The process ends.
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    };
    let status = response.status().as_u16();
    span.record("http.response.status_code", status);
    histogram!("http_server_request_duration_seconds", "route" => route, "status" => status.to_string())
        .record(began.elapsed());
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
