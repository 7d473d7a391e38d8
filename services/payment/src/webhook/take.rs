use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode};
use quadrille_process::fault::{self, About, Point};
use quadrille_process::webhook::{self, ID, SIGNATURE, TIMESTAMP};
use quadrille_process::{Chain, telemetry};
use saga_runtime::{CommandError, Idempotency};
use sha2::{Digest as _, Sha256};
use tracing::{Instrument as _, Span, field};

use super::problem::Problem;
use super::report::{self, Report};
use super::{Endpoint, PATIENCE};
use crate::participant::{In, PageReport, Refusal};
use crate::store;

/// Webhooks, by what became of them.
const WEBHOOKS: &str = "payment_webhooks_total";

/// `POST /webhooks/payments`
pub(super) async fn take(State(endpoint): State<Endpoint>, request: Request) -> Result<StatusCode, Problem> {
    let span = span(request.headers());
    let result = endpoint.take(request).instrument(span.clone()).await;
    let outcome = match &result {
        Ok(outcome) => outcome,
        Err(problem) => {
            let _in = span.enter();
            tracing::warn!(
                status = problem.status.as_u16(),
                why = problem.detail,
                "webhook was not taken"
            );
            problem.code
        }
    };
    metrics::counter!(WEBHOOKS, "outcome" => outcome).increment(1);
    result.map(|_| StatusCode::NO_CONTENT)
}

impl Endpoint {
    /// Says what became of it, for the metric.
    async fn take(&self, request: Request) -> Result<&'static str, Problem> {
        let _permit = self
            .free
            .try_acquire()
            .map_err(|_| Problem::later("overloaded", "too many webhooks at the same time"))?;
        let headers = request.headers().clone();
        let body = tokio::time::timeout(PATIENCE, Bytes::from_request(request, &()))
            .await
            .map_err(|_| {
                Problem::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "too_slow",
                    "the body did not come in time",
                )
            })?
            .map_err(|rejection| Problem::new(rejection.status(), "unreadable", rejection.body_text()))?;
        let id = self.verified(&headers, &body)?;
        Span::current().record("webhook", &id);
        let report =
            report::read(&body).map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "malformed", error))?;
        match report {
            None => Ok("passed_over"),
            Some(report) => self.note(id, &body, report).await,
        }
    }

    /// The id of a webhook that is the provider's.
    fn verified(&self, headers: &HeaderMap, body: &[u8]) -> Result<String, Problem> {
        let unauthorized = |detail: &dyn ToString| {
            Problem::new(StatusCode::UNAUTHORIZED, "bad_signature", detail.to_string())
        };
        let header = |name: &str| {
            text(headers, name).ok_or_else(|| unauthorized(&format!("the header {name} is missing")))
        };
        let (id, timestamp, signature) = (header(ID)?, header(TIMESTAMP)?, header(SIGNATURE)?);
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        webhook::verify(&self.secret, id, timestamp, signature, body, now)
            .map_err(|rejection| unauthorized(&rejection))?;
        // Signed, so nobody's trick; but it becomes a key.
        if !(1..=255).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            let expected = "the webhook's id has to be 1 to 255 visible ASCII characters";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "malformed", expected));
        }
        Ok(id.to_owned())
    }

    /// Has the participant decide, and waits until that is on disk.
    async fn note(&self, id: String, body: &[u8], report: Report) -> Result<&'static str, Problem> {
        let Report { payment_id, event } = report;
        let order_id = store::order_of(&self.pool, payment_id)
            .await
            .map_err(|error| {
                tracing::warn!(error = %Chain(&error), "cannot look for the order of a webhook");
                Problem::later("unavailable", "the database is away")
            })?
            .ok_or_else(|| unknown(format_args!("there is no payment {payment_id}")))?;
        Span::current().record("saga", field::display(order_id));
        let about = || vec![About::new(order_id, "webhook")];
        let interrupted = |injected| Problem::later("unavailable", injected);
        fault::reach(Point::WebhookBeforeNote, about)
            .await
            .map_err(interrupted)?;
        let idempotency = Idempotency {
            owner: "provider".to_owned(),
            method: "webhook".to_owned(),
            key: id,
            fingerprint: Sha256::digest(body).to_vec(),
        };
        let report = PageReport {
            order_id,
            payment_id,
            event,
        };
        let answer = self
            .commands
            .submit(
                idempotency,
                Some(order_id),
                In::ReportPage(report),
                Some(PATIENCE),
            )
            .await
            .map_err(not_noted)?;
        fault::reach(Point::WebhookAfterNote, about)
            .await
            .map_err(interrupted)?;
        Ok(if answer.replayed { "repeated" } else { "noted" })
    }
}

fn not_noted(error: CommandError<Refusal>) -> Problem {
    let detail = error.to_string();
    match error {
        CommandError::Refused(refusal @ Refusal::NoPage(_)) => unknown(refusal),
        CommandError::Refused(refusal @ Refusal::WrongAmount { payment_id, .. }) => {
            tracing::error!(%payment_id, "{refusal}");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong_amount", refusal)
        }
        CommandError::KeyReused => Problem::new(StatusCode::CONFLICT, "id_reused", detail),
        // Why it is parked is not the provider's business.
        CommandError::Parked(_) => Problem::later("parked", "the payment takes no reports at the moment"),
        CommandError::GivenUp => Problem::later("given_up", "the report cannot be stored at the moment"),
        CommandError::Overloaded => Problem::later("overloaded", detail),
        CommandError::Unavailable | CommandError::Stopping => Problem::later("unavailable", detail),
    }
}

fn unknown(detail: impl ToString) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown_reference", detail)
}

/// In the provider's trace, if it has one.
fn span(headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        "webhook",
        otel.name = "POST /webhooks/payments",
        otel.kind = "server",
        webhook = field::Empty,
        saga = field::Empty,
    );
    if let Some(traceparent) = text(headers, "traceparent") {
        telemetry::set_parent(&span, traceparent, text(headers, "tracestate"));
    }
    span
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}
