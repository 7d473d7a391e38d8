use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};

use super::answer::{json_text, to_text};
use super::pages::PageAnswer;
use super::request::Escaped;
use super::{App, Problem};
use crate::ids::PageId;
use crate::store::{Page, Paying};

/// `GET /pages/{id}`: what the customer sees.
pub(super) async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    let page = app.store.page(parse(&id)?).await?.ok_or_else(unknown)?;
    let mut response = Html(html(&page)).into_response();
    let headers = response.headers_mut();
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `POST /pages/{id}/pay`: the button.
pub(super) async fn pay(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    decide(&app, &id, &headers, true).await
}

/// `POST /pages/{id}/decline`: the other button.
pub(super) async fn decline(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    decide(&app, &id, &headers, false).await
}

async fn decide(app: &App, id: &str, headers: &HeaderMap, pays: bool) -> Result<Response, Problem> {
    let (page, done) = match app.store.decide_page(parse(id)?, pays).await? {
        Paying::Done(page) => (page, true),
        Paying::TooLate(page) => (page, false),
        Paying::Unknown => return Err(unknown()),
    };
    if done {
        app.bell.notify_one();
    }
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if accepts.contains("text/html") {
        // After POST, GET: reloading does not pay again.
        let to = match &page.return_url {
            Some(url) if done => url.clone(),
            _ => format!("/pages/{}", page.id),
        };
        return Ok(Redirect::to(&to).into_response());
    }
    let mut response = json_text(to_text(&PageAnswer::of(app, &page))?);
    if !done {
        *response.status_mut() = StatusCode::CONFLICT;
    }
    Ok(response)
}

fn parse(id: &str) -> Result<PageId, Problem> {
    PageId::parse(id).ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::not_found("no such page")
}

fn html(page: &Page) -> String {
    let reference = Escaped(&page.reference);
    let currency = Escaped(&page.currency);
    let amount = page.amount_minor;
    let what = match page.status.as_str() {
        "open" => format!(
            r#"<form method="post" action="/pages/{id}/pay"><button class="pay">Pay</button></form>
<form method="post" action="/pages/{id}/decline"><button>Decline</button></form>
<p class="note">Open until {until}.</p>"#,
            id = page.id,
            until = page.expires_at.format("%Y-%m-%d %H:%M UTC"),
        ),
        "paid" => "<p>Paid. You may close this page.</p>".to_owned(),
        "declined" => "<p>Declined. Nothing was charged.</p>".to_owned(),
        "expired" => "<p>The time for this payment is over. Nothing was charged.</p>".to_owned(),
        _ => "<p>The merchant has withdrawn this payment. Nothing was charged.</p>".to_owned(),
    };
    let back = page
        .return_url
        .as_deref()
        .filter(|_| page.status != "open")
        .map_or(String::new(), |url| {
            format!(r#"<p><a href="{}">Back to the shop</a></p>"#, Escaped(url))
        });
    format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Payment sandbox</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 26rem; margin: 4rem auto; padding: 0 1rem; color: #222; }}
h1 {{ font-size: 1.1rem; color: #666; font-weight: 500; }}
.amount {{ font-size: 2rem; }}
form {{ display: inline; }}
button {{ font: inherit; padding: .6rem 1.4rem; border: 1px solid #888; border-radius: .4rem; background: #fff; }}
button.pay {{ background: #14532d; border-color: #14532d; color: #fff; }}
.note {{ color: #666; }}
</style>
<h1>Payment sandbox — no real money</h1>
<p>Payment <b>{reference}</b></p>
<p class="amount">{amount} <small>minor units of</small> {currency}</p>
{what}
{back}
</html>
"#
    )
}
