use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::answer::{json_text, once_answered, replay, to_text, under_faults};
use super::request::{Body, ByReference, Parameters, amount, reference};
use super::{App, Problem};
use crate::faults::Operation;
use crate::idempotency::Once;
use crate::ids::{ChargeId, RefundId};
use crate::store::{Charge, NewRefund, Refund, Refunding};
use crate::token::Token;

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct RefundRequest {
    amount_minor: i64,
    reference: String,
}

/// `POST /v1/charges/{id or reference}/refunds`
pub(super) async fn create(
    State(app): State<App>,
    Path(charge): Path<String>,
    headers: HeaderMap,
    Body(request): Body<RefundRequest>,
) -> Result<Response, Problem> {
    reference(&request.reference)?;
    amount(request.amount_minor)?;
    let route = format!("POST /v1/charges/{charge}/refunds");
    let once = Once::new(&headers, &route, &request)?;
    under_faults(
        &app,
        Operation::Refund,
        &request.reference,
        refund(&app, &charge, &request, once),
    )
    .await
}

async fn refund(app: &App, charge: &str, request: &RefundRequest, once: Once) -> Result<Response, Problem> {
    // Before anything else: what was answered once is answered again, whatever the charge is like now.
    if let Some(recalled) = app.store.recall(&once.key).await? {
        return replay(recalled, &once);
    }
    let _flight = app
        .in_flight
        .begin(&once.key, &request.reference)
        .ok_or_else(Problem::in_flight)?;
    let charge = find_charge(app, charge).await?;
    match charge.token.as_deref().map(Token::parse) {
        Some(Token::RefundFails) => return Err(Problem::on_purpose(StatusCode::INTERNAL_SERVER_ERROR)),
        Some(Token::RefundErrorThenOk) if app.refusals.refuse(&format!("refund {}", request.reference)) => {
            return Err(Problem::on_purpose(StatusCode::INTERNAL_SERVER_ERROR));
        }
        _ => {}
    }
    let id = RefundId::new();
    let body = to_text(&Refund {
        id,
        charge_id: charge.id,
        reference: request.reference.clone(),
        amount_minor: request.amount_minor,
        status: "succeeded",
    })?;
    let new = NewRefund {
        id,
        charge: charge.id,
        reference: request.reference.clone(),
        amount_minor: request.amount_minor,
        once,
        body: body.clone(),
    };
    match app.store.refund(&new).await? {
        Refunding::Done(booked) => once_answered(booked, body, &new.once),
        Refunding::TooMuch => Err(Problem::conflict(
            "refund_exceeds_charge",
            format!(
                "{} of {} minor units captured were refunded before, {} more is too much",
                charge.refunded_minor,
                if charge.status == "succeeded" {
                    charge.amount_minor
                } else {
                    0
                },
                request.amount_minor,
            ),
        )),
    }
}

async fn find_charge(app: &App, name: &str) -> Result<Charge, Problem> {
    let charge = match ChargeId::parse(name) {
        Some(id) => app.store.charge_by_id(id).await?,
        None => app.store.charge(name).await?,
    };
    charge.ok_or_else(|| Problem::not_found(format!("no charge {name}")))
}

/// `GET /v1/refunds?reference=…`
pub(super) async fn find(
    State(app): State<App>,
    Parameters(ByReference { reference }): Parameters<ByReference>,
) -> Result<Response, Problem> {
    under_faults(&app, Operation::GetRefund, &reference, async {
        // In the same order as with charges, for the same reason.
        let in_flight = app.in_flight.concerns(&reference);
        if let Some(refund) = app.store.refund_by_reference(&reference).await? {
            return Ok(json_text(to_text(&refund)?));
        }
        if in_flight {
            return Ok(json_text(to_text(&serde_json::json!({
                "reference": reference,
                "status": "processing",
            }))?));
        }
        Err(Problem::not_found(format!(
            "no refund with reference {reference}"
        )))
    })
    .await
}
