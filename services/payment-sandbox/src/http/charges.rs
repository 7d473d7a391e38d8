use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::answer::{json_text, lost, never, once_answered, replay, to_text, under_faults};
use super::request::{Body, ByReference, Parameters, amount, currency, reference};
use super::{App, Problem};
use crate::faults::Operation;
use crate::idempotency::{Flight, Once};
use crate::ids::ChargeId;
use crate::store::NewCharge;
use crate::token::Token;

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct ChargeRequest {
    reference: String,
    amount_minor: i64,
    currency: String,
    token: String,
}

#[derive(Debug, Serialize)]
struct ChargeAnswer<'a> {
    id: ChargeId,
    reference: &'a str,
    amount_minor: i64,
    currency: &'a str,
    status: &'static str,
    decline_code: Option<&'static str>,
}

/// `POST /v1/charges`
pub(super) async fn create(
    State(app): State<App>,
    headers: HeaderMap,
    Body(request): Body<ChargeRequest>,
) -> Result<Response, Problem> {
    reference(&request.reference)?;
    amount(request.amount_minor)?;
    currency(&request.currency)?;
    let once = Once::new(&headers, "POST /v1/charges", &request)?;
    let token = Token::parse(&request.token);
    under_faults(
        &app,
        Operation::Charge,
        &request.reference,
        charge(&app, &request, token, once),
    )
    .await
}

async fn charge(app: &App, request: &ChargeRequest, token: Token, once: Once) -> Result<Response, Problem> {
    let new = new_charge(request, token, once)?;
    match token {
        Token::Never => Ok(never(app).await),
        Token::ErrorThenOk => {
            // What was answered once is answered again, however many refusals are due.
            if let Some(recalled) = app.store.recall(&new.once.key).await? {
                return replay(recalled, &new.once);
            }
            if app.refusals.refuse(&format!("charge {}", request.reference)) {
                return Err(Problem::on_purpose(StatusCode::INTERNAL_SERVER_ERROR));
            }
            book(app, new).await
        }
        Token::Slow => slowly(app, new).await,
        Token::AnswerLost => {
            let answer = book(app, new).await?;
            let first = !answer.headers().contains_key("idempotent-replayed");
            Ok(if first { lost() } else { answer })
        }
        Token::Ok
        | Token::Declined
        | Token::InsufficientFunds
        | Token::RefundFails
        | Token::RefundErrorThenOk
        | Token::Invalid => book(app, new).await,
    }
}

/// Takes its time, and does not stop when the caller does.
async fn slowly(app: &App, new: NewCharge) -> Result<Response, Problem> {
    if let Some(recalled) = app.store.recall(&new.once.key).await? {
        return replay(recalled, &new.once);
    }
    let flight = begin(app, &new)?;
    let work = {
        let app = app.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(app.slow) => book_in(&app, new, flight).await,
                // Not booked yet, and now it never will be: as if we had died.
                () = app.stop.cancelled() => Err(Problem::unavailable("stopping")),
            }
        })
    };
    work.await.map_err(|error| Problem::internal(&error))?
}

async fn book(app: &App, new: NewCharge) -> Result<Response, Problem> {
    let flight = begin(app, &new)?;
    book_in(app, new, flight).await
}

fn begin(app: &App, new: &NewCharge) -> Result<Flight, Problem> {
    app.in_flight
        .begin(&new.once.key, &new.reference)
        .ok_or_else(Problem::in_flight)
}

async fn book_in(app: &App, new: NewCharge, flight: Flight) -> Result<Response, Problem> {
    let once = new.once.clone();
    let body = new.body.clone();
    once_answered(app.ledger.book(new, flight).await?, body, &once)
}

fn new_charge(request: &ChargeRequest, token: Token, once: Once) -> Result<NewCharge, Problem> {
    let id = ChargeId::new();
    let decline_code = token.decline_code();
    let body = to_text(&ChargeAnswer {
        id,
        reference: &request.reference,
        amount_minor: request.amount_minor,
        currency: &request.currency,
        status: if decline_code.is_none() {
            "succeeded"
        } else {
            "declined"
        },
        decline_code,
    })?;
    Ok(NewCharge {
        id,
        reference: request.reference.clone(),
        amount_minor: request.amount_minor,
        currency: request.currency.clone(),
        token: request.token.to_ascii_lowercase(),
        decline_code,
        once,
        body,
    })
}

/// `GET /v1/charges?reference=…`
pub(super) async fn find(
    State(app): State<App>,
    Parameters(ByReference { reference }): Parameters<ByReference>,
) -> Result<Response, Problem> {
    under_faults(&app, Operation::GetCharge, &reference, async {
        // In this order: a call that lands between the two questions is found by the second one. The other
        // way round we would say "never" of a charge that is in the books.
        let in_flight = app.in_flight.concerns(&reference);
        if let Some(charge) = app.store.charge(&reference).await? {
            return Ok(json_text(to_text(&charge)?));
        }
        if in_flight {
            return Ok(json_text(to_text(&serde_json::json!({
                "reference": reference,
                "status": "processing",
                "decline_code": null,
            }))?));
        }
        Err(Problem::not_found(format!(
            "no charge with reference {reference}"
        )))
    })
    .await
}
