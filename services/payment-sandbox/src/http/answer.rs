use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Serialize;

use super::{App, Problem};
use crate::faults::{FaultKind, Operation};
use crate::idempotency::Once;
use crate::store::{Booked, Recalled};

/// No test waits for longer.
const LONGEST: Duration = Duration::from_secs(600);

/// An answer whose text is at hand: what is stored under an idempotency key is sent byte by byte.
pub(super) fn json_text(body: String) -> Response {
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body,
    )
        .into_response()
}

/// The text of an answer.
pub(super) fn to_text(body: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(body).map_err(|error| Problem::internal(&error))
}

/// The first answer to a key once more, if the same is asked for.
pub(super) fn replay(recalled: Recalled, once: &Once) -> Result<Response, Problem> {
    if recalled.fingerprint != once.fingerprint {
        return Err(Problem::key_reused());
    }
    let mut response = json_text(recalled.body);
    response
        .headers_mut()
        .insert("idempotent-replayed", HeaderValue::from_static("true"));
    Ok(response)
}

/// The answer to what is booked once per key.
pub(super) fn once_answered(booked: Booked, body: String, once: &Once) -> Result<Response, Problem> {
    match booked {
        Booked::New => Ok(json_text(body)),
        Booked::Known(recalled) => replay(recalled, once),
        Booked::Busy => Err(Problem::in_flight()),
    }
}

/// An answer that gets lost: the body fails before its first byte, upon which hyper drops the connection
/// with nothing of the response on it.
pub(super) fn lost() -> Response {
    Body::from_stream(stream::once(async {
        Err::<Bytes, _>(std::io::Error::other("lost on purpose"))
    }))
    .into_response()
}

/// No answer until the caller has lost patience, or we are being stopped.
pub(super) async fn never(app: &App) -> Response {
    tokio::select! {
        () = tokio::time::sleep(LONGEST) => {}
        () = app.stop.cancelled() => {}
    }
    lost()
}

/// Runs an operation under the faults that were asked for.
pub(super) async fn under_faults<F>(
    app: &App,
    operation: Operation,
    reference: &str,
    work: F,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<Response, Problem>>,
{
    match app.faults.hit(operation, reference) {
        None => work.await,
        Some(FaultKind::Refuse { status }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            Err(Problem::on_purpose(status))
        }
        Some(FaultKind::LoseAnswer) => work.await.map(|_| lost()),
        Some(FaultKind::Delay { delay_ms }) => {
            let response = work.await;
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(delay_ms).min(LONGEST)) => {}
                () = app.stop.cancelled() => {}
            }
            response
        }
    }
}
