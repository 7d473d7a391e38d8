use quadrille_contracts::{payment, stock};
use quadrille_proto::order::v1::{OrderStatus, PlaceOrderRequest};
use saga_core::{Currency, Money};
use tonic::Code;

use crate::harness::{Shop, hosted_page, ids, order_of, reason};

const PRICE: Money = Money::new(250, Currency::EUR);

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_paid_is_confirmed_and_over() {
    let shop = Shop::open().await;
    let placed = shop.placed().await;
    let (order_id, payment_id) = ids(&placed);
    shop.send(&payment::Succeeded {
        order_id,
        payment_id,
        amount: PRICE,
    })
    .await;
    let confirmed = shop.until(&placed.order_id, |order| order.ended).await;
    assert_eq!(
        (confirmed.status(), confirmed.reason.as_str()),
        (OrderStatus::Confirmed, "")
    );
    assert_eq!(confirmed.created_at, placed.created_at);
    assert_ne!(confirmed.updated_at, placed.updated_at);
    assert_eq!(
        shop.published(&placed).await,
        ["order.created", "order.confirmed"]
    );
    assert_eq!(shop.traces().await.3, 0, "its deadline is gone");
    let status = shop.cancel(&placed.order_id, "late").await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "ORDER_NOT_PENDING")
    );
    shop.telemetry.upkeep();
    let metrics = shop.telemetry.metrics_text();
    assert!(metrics.contains("saga_duration_seconds"), "{metrics}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_stock_is_rejected() {
    let shop = Shop::open().await;
    let placed = shop.placed().await;
    let (order_id, _) = ids(&placed);
    shop.send(&stock::Rejected {
        order_id,
        shortages: Vec::new(),
    })
    .await;
    let order = shop.until(&placed.order_id, |order| order.ended).await;
    assert_eq!(
        (order.status(), order.reason.as_str()),
        (OrderStatus::Rejected, "OUT_OF_STOCK")
    );
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_cancels() {
    let shop = Shop::open().await;
    let placed = shop.placed().await;
    let (order_id, payment_id) = ids(&placed);
    shop.send(&payment::Failed {
        order_id,
        payment_id,
        code: "declined".into(),
    })
    .await;
    let order = shop.until(&placed.order_id, |order| order.ended).await;
    assert_eq!(
        (order.status(), order.reason.as_str()),
        (OrderStatus::Cancelled, "PAYMENT_DECLINED")
    );
    assert!(order.settled);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_is_over_when_its_money_is_settled() {
    let shop = Shop::open().await;
    let placed = shop.placed().await;
    let (order_id, payment_id) = ids(&placed);
    let cancelled = shop.cancel(&placed.order_id, "c").await.unwrap();
    assert_eq!(
        (cancelled.status(), cancelled.reason.as_str()),
        (OrderStatus::Cancelled, "CANCELLED_BY_CUSTOMER")
    );
    assert_eq!((cancelled.settled, cancelled.ended), (false, false));
    assert_eq!(cancelled.created_at, placed.created_at);
    assert_eq!(shop.get(&placed.order_id).await.unwrap(), cancelled);
    shop.send(&payment::Voided { order_id, payment_id }).await;
    let settled = shop.until(&placed.order_id, |order| order.ended).await;
    assert_eq!(
        (settled.status(), settled.settled),
        (OrderStatus::Cancelled, true)
    );
    // The first answer to the key stays its answer.
    assert_eq!(shop.cancel(&placed.order_id, "c").await.unwrap(), cancelled);
    let status = shop.cancel(&placed.order_id, "another").await.unwrap_err();
    assert_eq!(reason(&status), "ORDER_NOT_PENDING");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_cannot_go_back_is_shown_until_it_did() {
    let shop = Shop::open().await;
    let placed = shop.placed().await;
    let (order_id, payment_id) = ids(&placed);
    shop.cancel(&placed.order_id, "c").await.unwrap();
    shop.send(&payment::RefundFailed {
        order_id,
        payment_id,
        amount: PRICE,
    })
    .await;
    let owed = shop.until(&placed.order_id, |order| order.ended).await;
    assert_eq!((owed.status(), owed.money_owed), (OrderStatus::Cancelled, true));
    shop.send(&payment::Refunded {
        order_id,
        payment_id,
        amount: PRICE,
    })
    .await;
    let refunded = shop.until(&placed.order_id, |order| !order.money_owed).await;
    assert_eq!((refunded.status(), refunded.ended), (OrderStatus::Refunded, true));
    assert_eq!(
        shop.published(&placed).await,
        ["order.created", "order.cancelled", "order.refunded"]
    );
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_are_those_of_the_configuration() {
    let shop = Shop::open_with(&[("CARD_DEADLINE_MS", "50"), ("PAGE_DEADLINE_MS", "3600000")]).await;
    let tea = shop.product(250, "EUR").await;
    let page = PlaceOrderRequest {
        payment_method: hosted_page(),
        ..order_of(&[(tea, 1)])
    };
    let waiting = shop.place(page).await.unwrap();
    let late = shop.place(order_of(&[(tea, 1)])).await.unwrap();
    let late = shop
        .until(&late.order_id, |order| order.status() != OrderStatus::Pending)
        .await;
    assert_eq!(
        (late.status(), late.reason.as_str()),
        (OrderStatus::Cancelled, "DEADLINE")
    );
    assert_eq!(
        shop.get(&waiting.order_id).await.unwrap().status(),
        OrderStatus::Pending
    );
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_news_cannot_be_is_parked_and_shown_as_over() {
    let shop = Shop::open().await;
    let placed = shop.placed().await;
    let (order_id, payment_id) = ids(&placed);
    // Nobody cancelled it, so nothing of it can have been voided.
    shop.send(&payment::Voided { order_id, payment_id }).await;
    let parked = shop.until(&placed.order_id, |order| order.ended).await;
    assert_eq!(parked.status(), OrderStatus::Pending);
    let status = shop.cancel(&placed.order_id, "c").await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "SAGA_PARKED")
    );
    shop.close().await;
}
