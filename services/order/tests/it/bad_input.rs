use order::participant::Basket;
use quadrille_contracts::ProductId;
use quadrille_proto::order::v1::{PaymentMethod, PlaceOrderItem, PlaceOrderRequest};
use tonic::Code;
use uuid::Uuid;

use crate::harness::{Shop, card, fields, keyed, order_of, reason};

fn any() -> ProductId {
    ProductId(Uuid::new_v4())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_is_told_field_by_field_and_leaves_nothing() {
    let shop = Shop::open().await;
    let good = order_of(&[(shop.product(250, "EUR").await, 1)]);
    let product_id = good.items[0].product_id.clone();
    let item = |product_id: &str, quantity| PlaceOrderItem {
        product_id: product_id.to_owned(),
        quantity,
    };
    let of = |items: Vec<PlaceOrderItem>| PlaceOrderRequest {
        items,
        ..good.clone()
    };
    let too_many: Vec<_> = (0..=Basket::MAX_ITEMS)
        .map(|_| item(&any().to_string(), 1))
        .collect();
    let twice = vec![item(&product_id, 1), item(&product_id.to_uppercase(), 2)];
    let cases = [
        (of(vec![]), vec!["items"]),
        (of(too_many), vec!["items"]),
        (of(vec![item("tea", 1)]), vec!["items[0].product_id"]),
        (of(vec![item(&product_id, 0)]), vec!["items[0].quantity"]),
        (of(vec![item(&product_id, -1)]), vec!["items[0].quantity"]),
        (of(vec![item(&product_id, 10_001)]), vec!["items[0].quantity"]),
        (of(vec![item(&product_id, i64::MAX)]), vec!["items[0].quantity"]),
        (of(twice), vec!["items[1].product_id"]),
        (
            PlaceOrderRequest {
                owner: String::new(),
                ..good.clone()
            },
            vec!["owner"],
        ),
        (
            PlaceOrderRequest {
                owner: "o".repeat(129),
                ..good.clone()
            },
            vec!["owner"],
        ),
        (
            PlaceOrderRequest {
                owner: "a\0b".to_owned(),
                ..good.clone()
            },
            vec!["owner"],
        ),
        (
            PlaceOrderRequest {
                payment_method: None,
                ..good.clone()
            },
            vec!["payment_method"],
        ),
        (
            PlaceOrderRequest {
                payment_method: Some(PaymentMethod { method: None }),
                ..good.clone()
            },
            vec!["payment_method"],
        ),
        (
            PlaceOrderRequest {
                payment_method: card(""),
                ..good.clone()
            },
            vec!["payment_method.card.token"],
        ),
        (
            PlaceOrderRequest {
                payment_method: card(&"t".repeat(129)),
                ..good.clone()
            },
            vec!["payment_method.card.token"],
        ),
        (
            PlaceOrderRequest {
                expected_currency_code: Some("euro".into()),
                ..good.clone()
            },
            vec!["expected_currency_code"],
        ),
        (
            PlaceOrderRequest {
                owner: String::new(),
                items: vec![item("tea", 0)],
                payment_method: None,
                expected_currency_code: Some(String::new()),
            },
            vec![
                "owner",
                "items[0].product_id",
                "items[0].quantity",
                "payment_method",
                "expected_currency_code",
            ],
        ),
    ];
    for (request, wrong) in cases {
        let status = shop.place(request.clone()).await.unwrap_err();
        assert_eq!(
            (status.code(), fields(&status)),
            (
                Code::InvalidArgument,
                wrong.iter().map(ToString::to_string).collect()
            ),
            "{request:?}"
        );
        assert!(
            !format!("{status:?}").contains("tttttttt"),
            "a card's token is not repeated"
        );
    }
    assert_eq!(shop.traces().await, (0, 0, 0, 0));
    // Nothing was wrong with the rest of it.
    shop.place(good).await.unwrap();
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_catalogue_does_not_allow_is_refused_and_leaves_nothing() {
    let shop = Shop::open().await;
    let (tea, car) = (
        shop.product(250, "EUR").await,
        shop.product(i64::MAX / 2, "EUR").await,
    );
    let yen = shop.product(100, "JPY").await;
    let dollars = PlaceOrderRequest {
        expected_currency_code: Some("USD".into()),
        ..order_of(&[(tea, 1)])
    };
    let a_hundred: Vec<_> = (0..100).map(|_| (any(), 1)).collect();
    let cases = [
        (order_of(&[(any(), 1)]), "UNKNOWN_PRODUCT"),
        (order_of(&[(tea, 1), (any(), 1)]), "UNKNOWN_PRODUCT"),
        (order_of(&a_hundred), "UNKNOWN_PRODUCT"),
        (order_of(&[(tea, 1), (yen, 1)]), "CURRENCY_MISMATCH"),
        (dollars, "CURRENCY_MISMATCH"),
        (order_of(&[(car, 3)]), "TOTAL_TOO_LARGE"),
        (order_of(&[(car, 2), (tea, 1)]), "TOTAL_TOO_LARGE"),
    ];
    for (request, why) in cases {
        let status = shop.place(keyed("k", request)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::FailedPrecondition, why),
            "{status:?}"
        );
    }
    assert_eq!(shop.traces().await, (0, 0, 0, 0));
    // A refusal is not remembered: the same key may be tried again.
    shop.place(keyed("k", order_of(&[(tea, 1)]))).await.unwrap();
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_used_for_another_request_is_refused() {
    let shop = Shop::open().await;
    let tea = shop.product(250, "EUR").await;
    let first = shop.place(keyed("k", order_of(&[(tea, 1)]))).await.unwrap();
    let before = shop.traces().await;
    let others = [
        order_of(&[(tea, 2)]),
        PlaceOrderRequest {
            payment_method: card("tok_other"),
            ..order_of(&[(tea, 1)])
        },
    ];
    for other in others {
        let status = shop.place(keyed("k", other)).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(reason(&status), "IDEMPOTENCY_KEY_REUSED");
    }
    let long = "k".repeat(129);
    for malformed in ["\"\"", "with a blank", long.as_str()] {
        let status = shop
            .place(keyed(malformed, order_of(&[(tea, 1)])))
            .await
            .unwrap_err();
        assert_eq!(fields(&status), ["idempotency-key"]);
    }
    shop.cancel(&first.order_id, "k")
        .await
        .expect("keys of different methods do not meet");
    let again = shop.cancel(&Uuid::new_v4().to_string(), "k").await.unwrap_err();
    assert_eq!(reason(&again), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(shop.traces().await, (before.0, before.1 + 1, before.2 + 1, 0));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_more_than_a_mebibyte_is_refused() {
    let shop = Shop::open().await;
    let request = PlaceOrderRequest {
        owner: "o".repeat(1 << 20),
        ..order_of(&[(any(), 1)])
    };
    assert_eq!(shop.place(request).await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(shop.traces().await, (0, 0, 0, 0));
    shop.close().await;
}
