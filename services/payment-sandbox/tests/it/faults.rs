use serde_json::json;

use crate::harness::{Bank, answer, charge};

#[tokio::test]
async fn a_test_can_ask_for_misbehaviour() {
    let bank = Bank::open().await;
    let ask = async |fault| {
        assert_eq!(answer(bank.post("/v1/test/faults", "", &fault)).await.status, 201);
    };

    ask(json!({ "fault": "refuse", "status": 503, "calls": 2, "operation": "charge" })).await;
    for _ in 0..2 {
        let refused = bank.charge("k1", "order-1", "tok_ok").await;
        assert_eq!(
            (refused.status, refused.body["retryable"].as_bool()),
            (503, Some(true))
        );
    }
    assert_eq!(bank.find("charges", "order-1").await.status, 404);
    assert_eq!(bank.charge("k1", "order-1", "tok_ok").await.status, 200);

    ask(json!({ "fault": "lose_answer", "reference": "order-2" })).await;
    assert_eq!(bank.charge("k3", "order-3", "tok_ok").await.status, 200);
    assert!(
        bank.post("/v1/charges", "k2", &charge("order-2", "tok_ok"))
            .send()
            .await
            .is_err()
    );
    assert!(bank.charge("k2", "order-2", "tok_ok").await.replayed);

    ask(json!({ "fault": "delay", "delay_ms": 1, "operation": "get_charge" })).await;
    assert_eq!(bank.find("charges", "order-2").await.status, 200);

    ask(json!({ "fault": "refuse", "calls": 1_000_000 })).await;
    assert_eq!(
        answer(bank.get("/v1/test/faults")).await.body[0]["calls"],
        1_000_000
    );
    assert_eq!(bank.find("charges", "order-2").await.status, 503);
    assert_eq!(
        bank.delete("/v1/test/faults")
            .send()
            .await
            .unwrap()
            .status()
            .as_u16(),
        204
    );
    assert_eq!(bank.find("charges", "order-2").await.status, 200);

    assert_eq!(
        answer(bank.post("/v1/test/faults", "", &json!({ "fault": "explode" })))
            .await
            .status,
        400
    );
}
