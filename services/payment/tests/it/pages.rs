use std::time::Duration;

use anyhow::{Context as _, Result};
use quadrille_contracts::order::PaymentMethod;
use quadrille_contracts::{OrderId, PaymentId};
use quadrille_proto::payment::v1::PaymentStatus;
use reqwest::Method;
use serde_json::{Value, json};
use service_testing::until;

use crate::till::Till;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_paid_succeeds() -> Result<()> {
    let till = Till::open().await?;
    let (order, url) = till.page().await?;
    let shown = till.show(order).await?;
    assert_eq!((shown.status(), &shown.page_url), (PaymentStatus::PageOpen, &url));
    assert_eq!(till.on_page(&url, "pay").await?, 200);
    till.until_published(order, &["payment.created", "payment.succeeded"])
        .await?;
    assert_eq!(till.books(order).await?, [1999, 0, 1]);
    assert_eq!(till.show(order).await?.status(), PaymentStatus::Captured);
    let timers: i64 = sqlx::query_scalar("select count(*) from saga.timer")
        .fetch_one(&till.pool)
        .await?;
    assert_eq!(timers, 0);
    till.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_declined_fails() -> Result<()> {
    let till = Till::open().await?;
    let (order, url) = till.page().await?;
    assert_eq!(till.on_page(&url, "decline").await?, 200);
    let payloads = till
        .until_published(order, &["payment.created", "payment.failed"])
        .await?;
    assert_eq!(payloads[1]["code"], "declined");
    assert_eq!(till.books(order).await?[0], 0);
    till.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_nobody_pays_expires_and_cannot_be_paid_any_more() -> Result<()> {
    let till = Till::open_with(&[("PAGE_DEADLINE_MS", "1500")], Duration::ZERO).await?;
    let (order, url) = till.page().await?;
    till.until_published(order, &["payment.created", "payment.expired"])
        .await?;
    assert_eq!(till.on_page(&url, "pay").await?, 409);
    assert_eq!(till.books(order).await?, [0, 0, 0]);
    till.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_cancelled_order_is_closed() -> Result<()> {
    let till = Till::open().await?;
    let (order, url) = till.page().await?;
    till.cancel(order).await?;
    till.until_published(order, &["payment.created", "payment.voided"])
        .await?;
    assert_eq!(till.on_page(&url, "pay").await?, 409);
    let path = format!("pages?reference={}", PaymentId::of(order));
    let (_, page) = till.provider(Method::GET, &path, Value::Null).await?;
    assert_eq!((&page["url"], &page["status"]), (&json!(url), &json!("closed")));
    // Closing what was there took nobody's key.
    let path = format!("books?reference={}", PaymentId::of(order));
    let (_, books) = till.provider(Method::GET, &path, Value::Null).await?;
    assert_eq!(books["entries"], json!([]));
    till.close().await
}

/// The customer pays, and the report of it is late: a cancel finds the page paid.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_crosses_with_a_late_report_gives_the_money_back() -> Result<()> {
    let till = Till::open().await?;
    let (order, url) = till.page().await?;
    till.hold_webhooks(true).await?;
    assert_eq!(till.on_page(&url, "pay").await?, 200);
    till.cancel(order).await?;
    let all = ["payment.created", "payment.refunded"];
    till.until_published(order, &all).await?;
    assert_eq!(till.books(order).await?, [1999, 1999, 1]);

    till.hold_webhooks(false).await?;
    until_taken(&till, order, None).await?;
    till.until_published(order, &all).await?;
    assert_eq!(till.show(order).await?.status(), PaymentStatus::Refunded);
    till.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_comes_twice_counts_once() -> Result<()> {
    let till = Till::open().await?;
    let (order, url) = till.page().await?;
    till.on_page(&url, "pay").await?;
    let webhook = until_taken(&till, order, None).await?;
    let id = webhook["id"].as_str().context("an id")?;
    let all = ["payment.created", "payment.succeeded"];
    till.until_published(order, &all).await?;
    let resend = format!("webhooks/{id}/resend");
    let (status, _) = till.provider(Method::POST, &resend, Value::Null).await?;
    assert_eq!(status, 202);
    until_taken(&till, order, Some(&webhook["delivered_at"])).await?;
    till.until_published(order, &all).await?;
    let commands: i64 = sqlx::query_scalar("select count(*) from saga.command")
        .fetch_one(&till.pool)
        .await?;
    assert_eq!(commands, 1);
    till.close().await
}

/// The page is open at the provider, and the answer that says so is still on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_may_come_before_the_answer_that_opened_its_page() -> Result<()> {
    let till = Till::open().await?;
    till.fault(json!({"fault": "delay", "delay_ms": 3000, "operation": "open_page"}))
        .await?;
    let order = till.order(PaymentMethod::HostedPage).await?;
    let path = format!("pages?reference={}", PaymentId::of(order));
    until("the page is open", || async {
        Ok(till.provider(Method::GET, &path, Value::Null).await?.0 == 200)
    })
    .await?;
    let (_, page) = till.provider(Method::GET, &path, Value::Null).await?;
    till.on_page(page["url"].as_str().context("an address")?, "pay")
        .await?;
    till.until_published(order, &["payment.succeeded"]).await?;
    let asking: i64 = sqlx::query_scalar("select count(*) from saga.effect where kind = 'open_page'")
        .fetch_one(&till.pool)
        .await?;
    assert_eq!(asking, 1, "the report was to come before the answer");
    until("the answer has come", || async {
        let left: i64 = sqlx::query_scalar("select count(*) from saga.effect")
            .fetch_one(&till.pool)
            .await?;
        Ok(left == 0)
    })
    .await?;
    till.until_published(order, &["payment.succeeded"]).await?;
    assert_eq!(till.show(order).await?.status(), PaymentStatus::Captured);
    till.close().await
}

/// The answer is lost every time, so the page is asked after.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_answer_is_lost_is_found() -> Result<()> {
    let till = Till::open().await?;
    till.fault(json!({"fault": "lose_answer", "operation": "open_page", "calls": 3}))
        .await?;
    let (order, url) = till.page().await?;
    till.on_page(&url, "pay").await?;
    till.until_published(order, &["payment.created", "payment.succeeded"])
        .await?;
    assert_eq!(till.books(order).await?, [1999, 0, 1]);
    till.close().await
}

/// A page that never arrived is closed, and one that arrives after that cannot be opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_never_arrived_cannot_be_opened_later() -> Result<()> {
    let till = Till::open().await?;
    till.fault(json!({"fault": "refuse", "status": 503, "operation": "open_page", "calls": 3}))
        .await?;
    let order = till.order(PaymentMethod::HostedPage).await?;
    let payloads = till.until_published(order, &["payment.failed"]).await?;
    assert_eq!(payloads[0]["code"], "provider_unreachable");
    let reference = PaymentId::of(order);
    let late =
        json!({"reference": reference, "amount_minor": 1999, "currency": "EUR", "expires_in_s": 86400});
    let (status, _) = till
        .provider_once(
            Method::POST,
            "pages",
            &payment::participant::effects::OpenPage::key_of(reference),
            late,
        )
        .await?;
    assert_eq!(status, 422);
    assert_eq!(till.books(order).await?, [0, 0, 0]);
    till.close().await
}

/// Waits until the one webhook of a payment was taken, and taken again if `before` is when it was before;
/// returns it.
async fn until_taken(till: &Till, order: OrderId, before: Option<&Value>) -> Result<Value> {
    let path = format!("webhooks?reference={}", PaymentId::of(order));
    let look = || async {
        let (_, webhooks) = till.provider(Method::GET, &path, Value::Null).await?;
        Ok::<Value, anyhow::Error>(webhooks["entries"][0].clone())
    };
    until("the webhook is taken", || async {
        let webhook = look().await?;
        let taken = &webhook["delivered_at"];
        Ok(!taken.is_null() && Some(taken) != before && webhook["due_at"].is_null())
    })
    .await?;
    look().await
}
