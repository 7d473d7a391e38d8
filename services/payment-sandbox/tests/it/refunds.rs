use serde_json::{Value, json};

use crate::harness::{Answer, Bank, answer};

async fn refund(bank: &Bank, charge: &str, key: &str, reference: &str, amount_minor: i64) -> Answer {
    let body = json!({ "reference": reference, "amount_minor": amount_minor });
    answer(bank.post(&format!("/v1/charges/{charge}/refunds"), key, &body)).await
}

#[tokio::test]
async fn a_charge_is_given_back_in_parts_and_never_more_than_once() {
    let bank = Bank::open().await;
    let charge = bank.charge("k1", "order-1", "tok_ok").await;
    let id = charge.body["id"].as_str().unwrap();

    let part = refund(&bank, "order-1", "r1", "refund-1", 1000).await;
    assert_eq!(
        (part.status, &part.body["status"]),
        (200, &json!("succeeded")),
        "{part:?}"
    );
    assert_eq!(part.body["charge_id"], id);
    let again = refund(&bank, "order-1", "r1", "refund-1", 1000).await;
    assert!(again.replayed);
    assert_eq!(again.body, part.body);
    assert_eq!(refund(&bank, "order-1", "r1", "refund-1", 999).await.status, 422);

    let too_much = refund(&bank, id, "r2", "refund-2", 1000).await;
    assert_eq!(
        (too_much.status, too_much.body["code"].as_str()),
        (409, Some("refund_exceeds_charge"))
    );
    assert_eq!(refund(&bank, id, "r2", "refund-2", 999).await.status, 200);
    assert_eq!(refund(&bank, id, "r3", "refund-3", 1).await.status, 409);

    assert_eq!(bank.find("refunds", "refund-2").await.body["amount_minor"], 999);
    assert_eq!(bank.find("refunds", "refund-3").await.status, 404);
    let books = bank.books("order-1").await;
    assert_eq!(
        (&books["refunded_minor"], &books["refunds"]),
        (&json!(1999), &json!(2))
    );
}

#[tokio::test]
async fn what_was_not_captured_is_not_given_back() {
    let bank = Bank::open().await;
    bank.charge("k1", "order-1", "tok_declined").await;
    assert_eq!(refund(&bank, "order-1", "r1", "refund-1", 1).await.status, 409);
    assert_eq!(refund(&bank, "order-2", "r2", "refund-2", 1).await.status, 404);
    assert_eq!(refund(&bank, "order-1", "r3", "refund-3", 0).await.status, 400);
}

#[tokio::test]
async fn a_refund_that_always_fails_leaves_no_trace() {
    let bank = Bank::open().await;
    bank.charge("k1", "order-1", "tok_refund_fails").await;
    for _ in 0..4 {
        assert_eq!(refund(&bank, "order-1", "r1", "refund-1", 1999).await.status, 500);
    }
    assert_eq!(bank.find("refunds", "refund-1").await.status, 404);
    assert_eq!(bank.books("order-1").await["refunded_minor"], 0);
}

#[tokio::test]
async fn a_refund_that_fails_twice_is_done_by_the_third_call() {
    let bank = Bank::open().await;
    bank.charge("k1", "order-1", "tok_refund_error_then_ok").await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(refund(&bank, "order-1", "r1", "refund-1", 1999).await.status);
    }
    assert_eq!(statuses, [500, 500, 200, 200]);
    assert_eq!(bank.books("order-1").await["refunds"], 1);
}

#[tokio::test]
async fn refunds_that_race_give_back_no_more_than_there_is() {
    let bank = Bank::open().await;
    bank.charge("k1", "order-1", "tok_ok").await;
    let calls = (0..10).map(|n| {
        let bank = &bank;
        async move { refund(bank, "order-1", &format!("r{n}"), &format!("refund-{n}"), 500).await }
    });
    let answers = futures::future::join_all(calls).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 200).count(),
        3,
        "{answers:?}"
    );
    assert_eq!(bank.books("order-1").await["refunded_minor"], Value::from(1500));
}
