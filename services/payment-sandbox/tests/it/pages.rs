use std::time::SystemTime;

use quadrille_process::webhook;
use serde_json::{Value, json};

use crate::harness::{Answer, Bank, Received, WEBHOOK_SECRET, answer, until};

fn page(reference: &str) -> Value {
    json!({ "reference": reference, "amount_minor": 2500, "currency": "EUR", "expires_in_s": 600 })
}

async fn open(bank: &Bank, reference: &str) -> Answer {
    let opened = answer(bank.post("/v1/pages", &format!("page {reference}"), &page(reference))).await;
    assert_eq!(
        (opened.status, opened.body["status"].as_str()),
        (200, Some("open")),
        "{opened:?}"
    );
    opened
}

async fn click(opened: &Answer, button: &str) -> Answer {
    let url = format!("{}/{button}", opened.body["url"].as_str().unwrap());
    answer(reqwest::Client::new().post(url)).await
}

fn genuine(received: &Received) -> bool {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    webhook::verify(
        &WEBHOOK_SECRET.parse().unwrap(),
        received.header(webhook::ID),
        received.header(webhook::TIMESTAMP),
        received.header(webhook::SIGNATURE),
        &received.body,
        now,
    )
    .is_ok()
}

#[tokio::test]
async fn paying_a_page_books_a_charge_and_tells_the_merchant() {
    let mut bank = Bank::open().await;
    let opened = open(&bank, "order-1").await;
    let again = answer(bank.post("/v1/pages", "page order-1", &page("order-1"))).await;
    assert!(again.replayed);
    assert_eq!(again.body, opened.body);

    let shown = reqwest::get(opened.body["url"].as_str().unwrap()).await.unwrap();
    assert!(shown.headers().contains_key("content-security-policy"));
    assert!(
        shown
            .text()
            .await
            .unwrap()
            .contains("<button class=\"pay\">Pay</button>")
    );

    assert_eq!(click(&opened, "pay").await.body["status"], "paid");
    let told = bank.merchant.next().await;
    assert!(genuine(&told));
    let body = told.json();
    assert_eq!(body["type"], "page.paid");
    assert_eq!(body["data"]["reference"], "order-1");
    assert_eq!(body["data"]["amount_minor"], 2500);
    let charge = bank.find("charges", "order-1").await;
    assert_eq!(charge.body["id"], body["data"]["charge_id"]);
    assert_eq!(bank.books("order-1").await["captured_minor"], 2500);

    let second = click(&opened, "pay").await;
    assert_eq!(
        (second.status, second.body["status"].as_str()),
        (409, Some("paid"))
    );
    let closed = answer(bank.post("/v1/pages/order-1/close", "", &json!({}))).await;
    assert_eq!(
        (closed.status, closed.body["status"].as_str()),
        (200, Some("paid"))
    );
    assert_eq!(bank.books("order-1").await["charges"], 1);

    let refund = json!({ "reference": "refund-1", "amount_minor": 2500 });
    assert_eq!(
        answer(bank.post("/v1/charges/order-1/refunds", "r1", &refund))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_closed_page_cannot_be_paid() {
    let bank = Bank::open().await;
    let opened = open(&bank, "order-1").await;
    for _ in 0..2 {
        let closed = answer(bank.post("/v1/pages/order-1/close", "", &json!({}))).await;
        assert_eq!(
            (closed.status, closed.body["status"].as_str()),
            (200, Some("closed"))
        );
    }
    let paid = click(&opened, "pay").await;
    assert_eq!((paid.status, paid.body["status"].as_str()), (409, Some("closed")));
    assert_eq!(bank.find("charges", "order-1").await.status, 404);
    assert_eq!(
        answer(bank.post("/v1/pages/order-2/close", "", &json!({})))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn pay_and_close_at_the_same_time_agree() {
    let bank = Bank::open().await;
    for n in 0..20 {
        let reference = format!("order-{n}");
        let opened = open(&bank, &reference).await;
        let close = answer(bank.post(&format!("/v1/pages/{reference}/close"), "", &json!({})));
        let (paid, closed) = tokio::join!(click(&opened, "pay"), close);
        let expected = if paid.status == 200 { "paid" } else { "closed" };
        assert_eq!(
            (&paid.body["status"], &closed.body["status"]),
            (&json!(expected), &json!(expected))
        );
    }
}

#[tokio::test]
async fn a_customer_may_decline() {
    let mut bank = Bank::open().await;
    let opened = open(&bank, "order-1").await;
    assert_eq!(click(&opened, "decline").await.body["status"], "declined");
    assert_eq!(bank.merchant.next().await.json()["type"], "page.declined");
    assert_eq!(bank.find("pages", "order-1").await.body["status"], "declined");
    assert_eq!(click(&opened, "pay").await.status, 409);
}

#[tokio::test]
async fn a_page_expires_and_the_merchant_is_told() {
    let mut bank = Bank::open().await;
    let mut short = page("order-1");
    short["expires_in_s"] = json!(1);
    let opened = answer(bank.post("/v1/pages", "k1", &short)).await;
    let told = bank.merchant.next().await;
    assert!(genuine(&told));
    assert_eq!(told.json()["type"], "page.expired");
    assert_eq!(bank.find("pages", "order-1").await.body["status"], "expired");
    assert_eq!(click(&opened, "pay").await.body["status"], "expired");
    let closed = answer(bank.post("/v1/pages/order-1/close", "", &json!({}))).await;
    assert_eq!(closed.body["status"], "expired");
}

#[tokio::test]
async fn a_webhook_is_sent_until_it_is_taken_with_the_same_id() {
    let mut bank = Bank::open().await;
    bank.merchant.will_answer(&[500, 302, 429]);
    click(&open(&bank, "order-1").await, "pay").await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let told = bank.merchant.next().await;
        assert!(genuine(&told));
        ids.push(told.header(webhook::ID).to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    until("it is noted as delivered", || async {
        let listed = bank.find("webhooks", "order-1").await.body["entries"][0].clone();
        listed["delivered_at"].is_string() && listed["attempts"] == 4 && listed["id"] == ids[0]
    })
    .await;

    // Once more, as providers do.
    let resend = bank.post(&format!("/v1/webhooks/{}/resend", ids[0]), "", &json!({}));
    assert_eq!(answer(resend).await.status, 202);
    assert_eq!(bank.merchant.next().await.header(webhook::ID), ids[0]);
}

#[tokio::test]
async fn a_webhook_that_is_never_taken_is_given_up_and_stays_visible() {
    let mut bank = Bank::open().await;
    bank.merchant.will_answer(&[500; 5]);
    click(&open(&bank, "order-1").await, "pay").await;
    for _ in 0..5 {
        bank.merchant.next().await;
    }
    let listed = || async { bank.find("webhooks", "order-1").await.body["entries"][0].clone() };
    until("it is given up", || async { listed().await["due_at"].is_null() }).await;
    let webhook = listed().await;
    assert_eq!(webhook["delivered_at"], Value::Null);
    assert_eq!(webhook["last_answer"], "500 Internal Server Error");
}

#[tokio::test]
async fn webhooks_can_be_late() {
    let mut bank = Bank::open().await;
    answer(bank.post("/v1/test/webhooks", "", &json!({ "held": true }))).await;
    click(&open(&bank, "order-1").await, "pay").await;
    until("it waits", || async {
        bank.find("webhooks", "order-1").await.body["entries"][0]["due_at"].is_string()
    })
    .await;
    assert!(bank.merchant.received.try_recv().is_err());
    answer(bank.post("/v1/test/webhooks", "", &json!({ "held": false }))).await;
    assert_eq!(bank.merchant.next().await.json()["type"], "page.paid");
}

#[tokio::test]
async fn a_browser_is_led_back_and_cannot_be_fooled() {
    let bank = Bank::open().await;
    let mut body = page("<script>alert(1)</script>");
    body["return_url"] = json!("https://shop.example/thanks");
    let opened = answer(bank.post("/v1/pages", "k1", &body)).await;
    let url = opened.body["url"].as_str().unwrap();
    let html = reqwest::get(url).await.unwrap().text().await.unwrap();
    assert!(!html.contains("<script>"), "{html}");
    assert!(html.contains("&lt;script&gt;"), "{html}");

    let browser = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let paid = browser
        .post(format!("{url}/pay"))
        .header("accept", "text/html")
        .send()
        .await
        .unwrap();
    assert_eq!(paid.status().as_u16(), 303);
    assert_eq!(paid.headers()["location"], "https://shop.example/thanks");

    body["return_url"] = json!("javascript:alert(1)");
    assert_eq!(answer(bank.post("/v1/pages", "k2", &body)).await.status, 400);
    for (member, value) in [
        ("expires_in_s", json!(0)),
        ("expires_in_s", json!(u64::MAX)),
        ("expires_at", json!("soon")),
    ] {
        let mut body = page("order-1");
        body[member] = value;
        assert_eq!(
            answer(bank.post("/v1/pages", "k3", &body)).await.status,
            400,
            "{body}"
        );
    }
    assert_eq!(
        reqwest::get(bank.url("/pages/pg_0"))
            .await
            .unwrap()
            .status()
            .as_u16(),
        404
    );
}
