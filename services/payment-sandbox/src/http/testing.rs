use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::request::{Body, Parameters};
use super::{App, Problem};
use crate::faults::{Fault, Faults};
use crate::ids::WebhookId;
use crate::store::Webhook;

/// `POST /v1/test/faults`
pub(super) async fn add_fault(
    State(app): State<App>,
    Body(fault): Body<Fault>,
) -> Result<(StatusCode, Json<Vec<Fault>>), Problem> {
    if !app.faults.add(fault) {
        return Err(Problem::conflict(
            "too_many_faults",
            format!("there are {} already", Faults::BOUND),
        ));
    }
    Ok((StatusCode::CREATED, Json(app.faults.list())))
}

/// `GET /v1/test/faults`
pub(super) async fn faults(State(app): State<App>) -> Json<Vec<Fault>> {
    Json(app.faults.list())
}

/// `DELETE /v1/test/faults`
pub(super) async fn clear_faults(State(app): State<App>) -> StatusCode {
    app.faults.clear();
    StatusCode::NO_CONTENT
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Forget {
    reference: Option<String>,
}

/// `POST /v1/test/forget-idempotency-keys`: what providers do with old keys, now.
pub(super) async fn forget(State(app): State<App>, body: axum::body::Bytes) -> Result<Json<Value>, Problem> {
    let forget = if body.is_empty() {
        Forget::default()
    } else {
        serde_json::from_slice(&body)
            .map_err(|error| Problem::bad_request("malformed_json", error.to_string()))?
    };
    let forgotten = app.store.forget(forget.reference.as_deref()).await?;
    Ok(Json(json!({ "forgotten": forgotten })))
}

#[derive(Debug, Deserialize)]
pub(super) struct Hold {
    held: bool,
    #[serde(default)]
    reference: Option<String>,
}

/// `POST /v1/test/webhooks`: holds all webhooks back, or those about a reference, or lets them go. What is written after
/// the answer is held for certain; what was claimed before is on its way.
pub(super) async fn hold(State(app): State<App>, Body(hold): Body<Hold>) -> Json<Value> {
    let Hold { held, reference } = hold;
    let answer = json!({ "held": held, "reference": reference });
    let mut now = app.held.lock().await;
    match reference {
        None => now.all = held,
        Some(reference) if held => drop(now.references.insert(reference)),
        Some(reference) => drop(now.references.remove(&reference)),
    }
    drop(now);
    app.bell.notify_one();
    Json(answer)
}

#[derive(Debug, Deserialize)]
pub(super) struct WebhooksPage {
    reference: Option<String>,
    after: Option<String>,
    limit: Option<i64>,
}

#[derive(Debug, Serialize)]
pub(super) struct WebhooksAnswer {
    entries: Vec<Webhook>,
    next: Option<WebhookId>,
}

/// `GET /v1/webhooks?reference=…&after=…&limit=…`: what was sent, and what became of it.
pub(super) async fn webhooks(
    State(app): State<App>,
    Parameters(page): Parameters<WebhooksPage>,
) -> Result<Json<WebhooksAnswer>, Problem> {
    let limit = page.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::bad_request("invalid_request", "limit is 1 to 1000"));
    }
    let after = match page.after.as_deref() {
        None => None,
        Some(text) => Some(parse(text)?),
    };
    let mut entries = app
        .store
        .webhooks(page.reference.as_deref(), after, limit + 1)
        .await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|webhook| webhook.id);
    Ok(Json(WebhooksAnswer { entries, next }))
}

/// `POST /v1/webhooks/{id}/resend`: once more, whatever became of it.
pub(super) async fn resend(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    if !app.store.resend_webhook(parse(&id)?).await? {
        return Err(Problem::not_found("no such webhook"));
    }
    app.bell.notify_one();
    Ok(StatusCode::ACCEPTED)
}

fn parse(id: &str) -> Result<WebhookId, Problem> {
    WebhookId::parse(id).ok_or_else(|| Problem::not_found("no such webhook"))
}
