use std::time::{Duration, SystemTime};

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::answer::{json_text, once_answered, to_text, under_faults};
use super::request::{Body, ByReference, Parameters, amount, currency, reference, return_url};
use super::{App, Problem};
use crate::faults::Operation;
use crate::idempotency::Once;
use crate::ids::PageId;
use crate::store::{Closing, NewPage, Page};

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct PageRequest {
    reference: String,
    amount_minor: i64,
    currency: String,
    expires_at: Option<DateTime<Utc>>,
    expires_in_s: Option<u64>,
    return_url: Option<String>,
}

/// A page as its merchant sees it.
#[derive(Debug, Serialize)]
pub(super) struct PageAnswer<'a> {
    id: PageId,
    reference: &'a str,
    amount_minor: i64,
    currency: &'a str,
    status: &'a str,
    expires_at: DateTime<Utc>,
    url: String,
}

impl PageAnswer<'_> {
    pub(super) fn of<'a>(app: &App, page: &'a Page) -> PageAnswer<'a> {
        PageAnswer {
            id: page.id,
            reference: &page.reference,
            amount_minor: page.amount_minor,
            currency: &page.currency,
            status: &page.status,
            expires_at: page.expires_at,
            url: url(app, page.id),
        }
    }
}

fn url(app: &App, id: PageId) -> String {
    format!("{}/pages/{id}", app.public_url)
}

const LIFE_DEFAULT: Duration = Duration::from_secs(24 * 3600);
const LIFE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// `POST /v1/pages`
pub(super) async fn open(
    State(app): State<App>,
    headers: HeaderMap,
    Body(request): Body<PageRequest>,
) -> Result<Response, Problem> {
    reference(&request.reference)?;
    amount(request.amount_minor)?;
    currency(&request.currency)?;
    request.return_url.as_deref().map(return_url).transpose()?;
    let expires_at = expiry(&request, SystemTime::now())?;
    let once = Once::new(&headers, "POST /v1/pages", &request)?;
    under_faults(&app, Operation::OpenPage, &request.reference, async {
        let _flight = app
            .in_flight
            .begin(&once.key, &request.reference)
            .ok_or_else(Problem::in_flight)?;
        let id = PageId::new();
        let body = to_text(&PageAnswer {
            id,
            reference: &request.reference,
            amount_minor: request.amount_minor,
            currency: &request.currency,
            status: "open",
            expires_at,
            url: url(&app, id),
        })?;
        let page = NewPage {
            id,
            reference: request.reference.clone(),
            amount_minor: request.amount_minor,
            currency: request.currency.clone(),
            return_url: request.return_url.clone(),
            expires_at,
            once,
            body: body.clone(),
        };
        once_answered(app.store.open_page(&page).await?, body, &page.once)
    })
    .await
}

fn expiry(request: &PageRequest, now: SystemTime) -> Result<DateTime<Utc>, Problem> {
    let latest = DateTime::<Utc>::from(now + LIFE_MAX);
    let at = match (request.expires_at, request.expires_in_s) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid(
                "#/expires_in_s",
                "either expires_at or expires_in_s, not both",
            ));
        }
        (Some(at), None) => at,
        (None, Some(0)) => return Err(Problem::invalid("#/expires_in_s", "1 or more")),
        // Cut off first: the clock cannot hold every u64.
        (None, Some(seconds)) => {
            let life = Duration::from_secs(seconds);
            if life > LIFE_MAX {
                return Err(Problem::invalid("#/expires_in_s", "at most 30 days"));
            }
            DateTime::from(now + life)
        }
        (None, None) => DateTime::from(now + LIFE_DEFAULT),
    };
    if at > latest {
        Err(Problem::invalid("#/expires_at", "at most 30 days from now"))
    } else {
        Ok(at)
    }
}

/// `GET /v1/pages?reference=…`
pub(super) async fn find(
    State(app): State<App>,
    Parameters(ByReference { reference }): Parameters<ByReference>,
) -> Result<Response, Problem> {
    under_faults(&app, Operation::GetPage, &reference, async {
        match app.store.page_by_reference(&reference).await? {
            Some(page) => Ok(json_text(to_text(&PageAnswer::of(&app, &page))?)),
            None => Err(Problem::not_found(format!("no page with reference {reference}"))),
        }
    })
    .await
}

/// `POST /v1/pages/{reference}/close`
pub(super) async fn close(
    State(app): State<App>,
    Path(reference): Path<String>,
) -> Result<Response, Problem> {
    under_faults(&app, Operation::ClosePage, &reference, async {
        match app.store.close_pages(&reference).await? {
            Closing::Is(page) => Ok(json_text(to_text(&PageAnswer::of(&app, &page))?)),
            Closing::Unknown => Err(Problem::not_found(format!("no page with reference {reference}"))),
        }
    })
    .await
}
