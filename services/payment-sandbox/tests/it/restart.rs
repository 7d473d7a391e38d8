use serde_json::json;

use crate::harness::{Bank, answer, until};

#[tokio::test]
async fn what_was_answered_survives_a_restart() {
    let mut bank = Bank::open().await;
    let first = bank.charge("k1", "order-1", "tok_ok").await;
    bank.restart().await;
    assert_eq!(bank.find("charges", "order-1").await.body["id"], first.body["id"]);
    let again = bank.charge("k1", "order-1", "tok_ok").await;
    assert!(again.replayed);
    assert_eq!(again.body, first.body);
    assert_eq!(bank.books("order-1").await["charges"], 1);
}

#[tokio::test]
async fn a_webhook_that_was_not_taken_is_sent_by_the_next_process() {
    let mut bank = Bank::open().await;
    answer(bank.post("/v1/test/webhooks", "", &json!({ "held": true }))).await;
    let page = json!({ "reference": "order-1", "amount_minor": 2500, "currency": "EUR" });
    let opened = answer(bank.post("/v1/pages", "k1", &page)).await;
    let pay = format!("{}/pay", opened.body["url"].as_str().unwrap());
    assert_eq!(answer(reqwest::Client::new().post(pay)).await.status, 200);
    assert!(bank.merchant.received.try_recv().is_err());
    bank.restart().await;
    assert_eq!(bank.merchant.next().await.json()["data"]["reference"], "order-1");
}

#[tokio::test]
async fn a_slow_charge_ends_with_the_process_and_is_not_booked() {
    let mut bank = Bank::open().await;
    bank.config.slow = std::time::Duration::from_secs(600);
    bank.restart().await;
    let call = bank.post(
        "/v1/charges",
        "k1",
        &crate::harness::charge("order-1", "tok_slow"),
    );
    let caller = tokio::spawn(answer(call));
    until("it has begun", || async {
        bank.find("charges", "order-1").await.body["status"] == "processing"
    })
    .await;
    bank.restart().await;
    assert_eq!(caller.await.unwrap().status, 503);
    assert_eq!(bank.find("charges", "order-1").await.status, 404);
}
