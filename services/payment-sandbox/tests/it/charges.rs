use serde_json::{Value, json};

use crate::harness::{Bank, answer, charge, until};

#[tokio::test]
async fn a_charge_succeeds_once_per_key() {
    let bank = Bank::open().await;
    let first = bank.charge("k1", "order-1", "TOK_ok").await;
    assert_eq!((first.status, first.replayed), (200, false), "{first:?}");
    assert_eq!(first.body["status"], "succeeded");
    assert_eq!(first.body["decline_code"], Value::Null);

    let again = bank.charge("\"k1\"", "order-1", "TOK_ok").await;
    assert!(again.replayed);
    assert_eq!(again.body, first.body);

    let other = bank.charge("k1", "order-2", "tok_ok").await;
    assert_eq!(
        (other.status, other.body["code"].as_str()),
        (422, Some("idempotency_key_reused"))
    );
    let elsewhere = json!({ "reference": "order-1", "amount_minor": 1999, "currency": "EUR" });
    assert_eq!(answer(bank.post("/v1/pages", "k1", &elsewhere)).await.status, 422);

    let found = bank.find("charges", "order-1").await;
    assert_eq!((found.status, &found.body["id"]), (200, &first.body["id"]));
    assert_eq!(bank.find("charges", "order-2").await.status, 404);
    let books = bank.books("order-1").await;
    assert_eq!(
        (&books["charges"], &books["captured_minor"]),
        (&json!(1), &json!(1999))
    );
}

#[tokio::test]
async fn a_decline_is_booked_and_replayed() {
    let bank = Bank::open().await;
    for (token, code) in [
        ("tok_declined", "generic_decline"),
        ("tok_insufficient_funds", "insufficient_funds"),
        ("tok_unheard_of", "invalid_token"),
    ] {
        let declined = bank.charge(token, token, token).await;
        assert_eq!(declined.status, 200);
        assert_eq!(
            (&declined.body["status"], &declined.body["decline_code"]),
            (&json!("declined"), &json!(code))
        );
        assert!(bank.charge(token, token, token).await.replayed);
        assert_eq!(bank.find("charges", token).await.body["decline_code"], code);
        let books = bank.books(token).await;
        assert_eq!(
            (&books["captured_minor"], &books["declined"]),
            (&json!(0), &json!(1))
        );
    }
}

#[tokio::test]
async fn a_lost_answer_is_in_the_books_and_comes_with_the_second_call() {
    let bank = Bank::open().await;
    let lost = bank
        .post("/v1/charges", "k1", &charge("order-1", "tok_answer_lost"))
        .send()
        .await;
    assert!(lost.is_err(), "{lost:?}");
    assert_eq!(bank.find("charges", "order-1").await.body["status"], "succeeded");
    let second = bank.charge("k1", "order-1", "tok_answer_lost").await;
    assert!(second.replayed);
    assert_eq!(second.body["status"], "succeeded");
    assert_eq!(bank.books("order-1").await["charges"], 1);
}

#[tokio::test]
async fn two_errors_book_nothing_and_the_third_call_does() {
    let bank = Bank::open().await;
    for _ in 0..2 {
        assert_eq!(
            bank.charge("k1", "order-1", "tok_error_then_ok").await.status,
            500
        );
        assert_eq!(bank.find("charges", "order-1").await.status, 404);
    }
    let third = bank.charge("k1", "order-1", "tok_error_then_ok").await;
    assert_eq!((third.status, third.replayed), (200, false));
    assert!(bank.charge("k1", "order-1", "tok_error_then_ok").await.replayed);
    assert_eq!(bank.books("order-1").await["charges"], 1);
}

#[tokio::test]
async fn a_slow_charge_is_processing_until_it_is_booked_even_if_nobody_waits() {
    let bank = Bank::open().await;
    // The caller goes away as soon as the charge has begun.
    let call = bank.post("/v1/charges", "k1", &charge("order-1", "tok_slow"));
    let caller = tokio::spawn(call.send());
    until("it has begun", || async {
        bank.find("charges", "order-1").await.body["status"] == "processing"
    })
    .await;
    caller.abort();
    let second = bank.charge("k1", "order-1", "tok_slow").await;
    assert_eq!(
        (second.status, second.body["code"].as_str()),
        (409, Some("idempotency_key_in_use"))
    );
    until("it is booked", || async {
        let found = bank.find("charges", "order-1").await;
        assert_eq!(
            found.status, 200,
            "between processing and booked it was not found"
        );
        found.body["status"] == "succeeded"
    })
    .await;
    assert!(bank.charge("k1", "order-1", "tok_slow").await.replayed);
}

#[tokio::test]
async fn a_charge_without_an_answer_books_nothing() {
    let bank = Bank::open().await;
    let call = bank.post("/v1/charges", "k1", &charge("order-1", "tok_never"));
    let lost = call.timeout(std::time::Duration::from_millis(200)).send().await;
    assert!(lost.unwrap_err().is_timeout());
    assert_eq!(bank.find("charges", "order-1").await.status, 404);
}

#[tokio::test]
async fn who_errs_is_charged_twice_and_the_books_show_it() {
    let bank = Bank::open().await;
    bank.charge("k1", "order-1", "tok_ok").await;
    bank.charge("k2", "order-1", "tok_ok").await;
    bank.charge("k3", "order-2", "tok_ok").await;
    let forgotten = bank.post(
        "/v1/test/forget-idempotency-keys",
        "",
        &json!({ "reference": "order-2" }),
    );
    assert_eq!(answer(forgotten).await.body["forgotten"], 1);
    assert!(!bank.charge("k3", "order-2", "tok_ok").await.replayed);
    assert!(bank.charge("k1", "order-1", "tok_ok").await.replayed);
    assert_eq!(
        answer(bank.post("/v1/test/forget-idempotency-keys", "", &json!({})))
            .await
            .body["forgotten"],
        3
    );

    for reference in ["order-1", "order-2"] {
        let books = bank.books(reference).await;
        assert_eq!(
            (&books["charges"], &books["captured_minor"]),
            (&json!(2), &json!(3998))
        );
    }
}

#[tokio::test]
async fn the_books_come_a_page_at_a_time_with_totals_on_the_first() {
    let bank = Bank::open().await;
    for n in 0..5 {
        bank.charge(&format!("k{n}"), &format!("order-{n}"), "tok_ok")
            .await;
    }
    bank.charge("k5", "order-5", "tok_declined").await;
    let refund = json!({ "reference": "refund-1", "amount_minor": 999 });
    answer(bank.post("/v1/charges/order-1/refunds", "r1", &refund)).await;

    let mut references = Vec::new();
    let mut after = String::new();
    loop {
        let page = answer(bank.get(&format!("/v1/books?limit=4{after}"))).await.body;
        assert_eq!(page["totals"].is_array(), after.is_empty());
        if after.is_empty() {
            let totals = json!([{
                "currency": "EUR", "captured_minor": 9995, "refunded_minor": 999, "charges": 5, "declined": 1
            }]);
            assert_eq!(page["totals"], totals);
        }
        for entry in page["entries"].as_array().unwrap() {
            references.push(entry["reference"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(
        references,
        ["order-0", "order-1", "order-2", "order-3", "order-4", "order-5"]
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_named() {
    let bank = Bank::open().await;
    let good = charge("order-1", "tok_ok");
    let with = |member: &str, value: Value| {
        let mut body = good.clone();
        body[member] = value;
        body
    };
    for (body, key, code) in [
        (good.clone(), "", "idempotency_key_missing"),
        (with("amount_minor", json!(0)), "k", "invalid_request"),
        (with("amount_minor", json!(-1)), "k", "invalid_request"),
        (with("amount_minor", json!(i64::MAX)), "k", "invalid_request"),
        (with("amount_minor", json!(19.99)), "k", "malformed_json"),
        (with("currency", json!("euro")), "k", "invalid_request"),
        (with("reference", json!("")), "k", "invalid_request"),
        (with("reference", json!("a\u{0}b")), "k", "invalid_request"),
        (with("reference", Value::Null), "k", "malformed_json"),
    ] {
        let refused = answer(bank.post("/v1/charges", key, &body)).await;
        assert_eq!(
            (refused.status, refused.body["code"].as_str()),
            (400, Some(code)),
            "{body} {refused:?}"
        );
        assert_eq!(refused.body["status"], 400);
    }
    let huge = with("reference", json!("x".repeat(100_000)));
    assert_eq!(answer(bank.post("/v1/charges", "k", &huge)).await.status, 413);
    assert_eq!(answer(bank.get("/v1/nothing")).await.status, 404);
    assert_eq!(answer(bank.delete("/v1/charges")).await.status, 405);
    assert_eq!(bank.find("charges", "order-1").await.status, 404);

    let stranger = reqwest::Client::new().get(bank.url("/v1/books"));
    assert_eq!(answer(stranger.try_clone().unwrap()).await.status, 401);
    assert_eq!(answer(stranger.bearer_auth("sk_test_guess")).await.status, 401);
}

#[tokio::test]
async fn many_at_once_are_each_booked_once() {
    let bank = Bank::open().await;
    let calls = (0..400).map(|n| {
        // Each key twice, at the same time.
        let (key, reference) = (format!("k{}", n / 2), format!("order-{}", n / 2));
        let bank = &bank;
        async move { bank.charge(&key, &reference, "tok_ok").await }
    });
    let answers = futures::future::join_all(calls).await;
    for pair in answers.chunks(2) {
        let first = pair
            .iter()
            .filter(|answer| answer.status == 200 && !answer.replayed)
            .count();
        assert_eq!(first, 1, "{pair:?}");
        let other = pair
            .iter()
            .find(|answer| answer.status != 200 || answer.replayed)
            .unwrap();
        assert!(other.replayed || other.status == 409, "{other:?}");
    }
    let totals = &answer(bank.get("/v1/books?limit=1")).await.body["totals"][0];
    assert_eq!(
        (&totals["charges"], &totals["captured_minor"]),
        (&json!(200), &json!(200 * 1999))
    );
}
