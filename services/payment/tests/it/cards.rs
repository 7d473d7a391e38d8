use std::time::Duration;

use anyhow::Result;
use payment::participant::effects::Charge;
use quadrille_contracts::order::PaymentMethod;
use quadrille_contracts::{OrderId, PaymentId};
use quadrille_proto::payment::v1::PaymentStatus;
use reqwest::Method;
use serde_json::json;
use service_testing::until;
use uuid::Uuid;

use crate::till::{Till, created, price, reserved};

const SUCCEEDED: &[&str] = &["payment.created", "payment.succeeded"];
const FAILED: &[&str] = &["payment.created", "payment.failed"];

/// Each of them is charged once, whatever it takes to find that out.
#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_is_good_is_charged_once() -> Result<()> {
    let till = Till::open().await?;
    let mut orders = Vec::new();
    for token in ["tok_ok", "tok_answer_lost", "tok_error_then_ok", "tok_slow"] {
        orders.push((token, till.card(token).await?));
    }
    for (token, order) in orders {
        let payloads = till.until_published(order, SUCCEEDED).await?;
        assert_eq!(payloads[1]["amount"], json!(price()), "{token}");
        assert_eq!(till.books(order).await?, [1999, 0, 1], "{token}");
        let shown = till.show(order).await?;
        assert_eq!(shown.status(), PaymentStatus::Captured, "{token}");
        assert_eq!(shown.payment_id, PaymentId::of(order).to_string());
        assert_eq!(shown.captured, shown.amount);
    }
    let left: i64 = sqlx::query_scalar(
        "select (select count(*) from saga.effect) + (select count(*) from payment where card_token is not null)",
    )
    .fetch_one(&till.pool)
    .await?;
    assert_eq!(left, 0, "a token is kept no longer than it is needed");
    till.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_is_refused_fails_with_the_providers_word() -> Result<()> {
    let till = Till::open().await?;
    for (token, code, reason) in [
        ("tok_declined", "generic_decline", "GENERIC_DECLINE"),
        (
            "tok_insufficient_funds",
            "insufficient_funds",
            "INSUFFICIENT_FUNDS",
        ),
        ("tok_of_nobody", "invalid_token", "INVALID_TOKEN"),
    ] {
        let order = till.card(token).await?;
        let payloads = till.until_published(order, FAILED).await?;
        assert_eq!(payloads[1]["code"], code);
        assert_eq!(till.books(order).await?[0], 0);
        let shown = till.show(order).await?;
        assert_eq!(
            (shown.status(), shown.reason.as_str()),
            (PaymentStatus::Failed, reason)
        );
        assert_eq!(shown.captured.map(|money| money.minor_units), Some(0));
    }
    till.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_goods_may_be_heard_of_before_the_price() -> Result<()> {
    let till = Till::open().await?;
    let order = OrderId(Uuid::new_v4());
    till.send(&reserved(order)).await?;
    until("the goods are noted", || async {
        let rows: i64 = sqlx::query_scalar("select count(*) from payment where state = 'stock_first'")
            .fetch_one(&till.pool)
            .await?;
        Ok(rows == 1)
    })
    .await?;
    assert_eq!(
        till.show(order).await.expect_err("not heard of").code(),
        tonic::Code::NotFound
    );
    let token = "tok_ok".to_owned();
    till.send(&created(order, PaymentMethod::Card { token })).await?;
    till.until_published(order, SUCCEEDED).await?;
    till.close().await
}

/// Exhausted is not failed: the charge is asked after until it is definite.
#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_takes_longer_than_all_attempts_is_found() -> Result<()> {
    let own = [("PROVIDER_CALL_TIMEOUT_MS", "200"), ("CHARGE_ATTEMPTS", "2")];
    let till = Till::open_with(&own, Duration::from_secs(3)).await?;
    let order = till.card("tok_slow").await?;
    till.until_status(order, PaymentStatus::Unknown).await?;
    till.until_published(order, SUCCEEDED).await?;
    assert_eq!(till.books(order).await?, [1999, 0, 1]);
    till.close().await
}

/// A charge that never arrived is closed, and one that arrives after that is not made.
#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_never_arrived_cannot_be_made_later() -> Result<()> {
    let own = [("PROVIDER_CALL_TIMEOUT_MS", "300"), ("CHARGE_ATTEMPTS", "2")];
    let till = Till::open_with(&own, Duration::from_secs(1)).await?;
    let order = till.card("tok_never").await?;
    let payloads = till.until_published(order, FAILED).await?;
    assert_eq!(payloads[1]["code"], "provider_unreachable");

    let reference = PaymentId::of(order);
    let late = json!({"reference": reference, "amount_minor": 1999, "currency": "EUR", "token": "tok_ok"});
    let (status, _) = till
        .provider_once(Method::POST, "charges", &Charge::key_of(reference), late)
        .await?;
    assert_eq!(status, 422);
    assert_eq!(till.books(order).await?, [0, 0, 0]);
    till.close().await
}

/// The provider may have forgotten the key of an old call: it is asked before the call is made again.
#[tokio::test(flavor = "multi_thread")]
async fn a_charge_whose_key_was_forgotten_is_not_made_twice() -> Result<()> {
    let own = [
        ("PROVIDER_FORGETS_AFTER_MS", "1"),
        ("CHARGE_RETRY_INITIAL_MS", "3000"),
    ];
    let till = Till::open_with(&own, Duration::from_secs(1)).await?;
    let order = till.card("tok_answer_lost").await?;
    until("the charge is booked", || async {
        Ok(till.books(order).await?[0] == 1999)
    })
    .await?;
    let (status, forgotten) = till
        .provider(Method::POST, "test/forget-idempotency-keys", json!({}))
        .await?;
    assert_eq!((status, &forgotten["forgotten"]), (200, &json!(1)));
    till.until_published(order, SUCCEEDED).await?;
    assert_eq!(till.books(order).await?, [1999, 0, 1]);
    till.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_gets_its_money_back() -> Result<()> {
    let till = Till::open().await?;
    for token in ["tok_ok", "tok_refund_error_then_ok"] {
        let order = till.card(token).await?;
        till.until_published(order, SUCCEEDED).await?;
        till.cancel(order).await?;
        let payloads = till
            .until_published(
                order,
                &["payment.created", "payment.succeeded", "payment.refunded"],
            )
            .await?;
        assert_eq!(payloads[2]["amount"], json!(price()));
        assert_eq!(till.books(order).await?, [1999, 1999, 1]);
        let shown = till.show(order).await?;
        assert_eq!(shown.status(), PaymentStatus::Refunded);
        assert_eq!(shown.refunded, shown.amount);
    }
    till.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_cannot_be_made_waits_for_an_operator() -> Result<()> {
    let till = Till::open().await?;
    let order = till.card("tok_refund_fails").await?;
    till.until_published(order, SUCCEEDED).await?;
    till.cancel(order).await?;
    till.until_published(
        order,
        &["payment.created", "payment.succeeded", "payment.refund_failed"],
    )
    .await?;
    let shown = till.show(order).await?;
    assert_eq!(
        (shown.status(), shown.reason.as_str()),
        (PaymentStatus::RefundParked, "REFUND_NOT_CONFIRMED")
    );
    let waiting: i64 =
        sqlx::query_scalar("select count(*) from saga.effect where kind = 'refund' and due_at is null")
            .fetch_one(&till.pool)
            .await?;
    assert_eq!(waiting, 1);
    till.close().await
}

/// Before anything began, and while the charge is under way.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_crosses_with_the_charge_leaves_no_money() -> Result<()> {
    let till = Till::open_with(&[], Duration::from_secs(1)).await?;
    let early = OrderId(Uuid::new_v4());
    till.cancel(early).await?;
    till.until_published(early, &["payment.voided"]).await?;
    let token = "tok_ok".to_owned();
    till.send(&created(early, PaymentMethod::Card { token })).await?;
    till.send(&reserved(early)).await?;

    let crossing = till.card("tok_slow").await?;
    till.until_published(crossing, &["payment.created"]).await?;
    till.cancel(crossing).await?;
    till.until_published(crossing, &["payment.created", "payment.refunded"])
        .await?;
    assert_eq!(till.books(crossing).await?, [1999, 1999, 1]);
    // Its events came long before those of the other one were answered.
    till.until_published(early, &["payment.voided"]).await?;
    assert_eq!(till.books(early).await?, [0, 0, 0]);
    assert_eq!(till.show(early).await?.status(), PaymentStatus::Voided);
    till.close().await
}
