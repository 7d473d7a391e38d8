use quadrille_proto::product::v1::{
    ChangePriceRequest, CreateProductRequest, GetProductRequest, ListProductsRequest,
};
use quadrille_proto::r#type::v1::Money;
use tonic::{Code, Request, Status};

use crate::harness::{Shop, details, euro, id, keyed, tea};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_created_is_told_field_by_field_and_leaves_nothing() {
    let shop = Shop::open().await;
    let dollars = |code: &str| Money {
        currency_code: code.to_owned(),
        minor_units: 5,
    };
    let cases = [
        (
            CreateProductRequest {
                product_id: Some("tea".into()),
                ..tea(1)
            },
            vec!["product_id"],
        ),
        (
            CreateProductRequest {
                product_id: Some(uuid::Uuid::nil().to_string()),
                ..tea(1)
            },
            vec!["product_id"],
        ),
        (
            CreateProductRequest {
                name: String::new(),
                ..tea(1)
            },
            vec!["name"],
        ),
        (
            CreateProductRequest {
                name: "t".repeat(201),
                ..tea(1)
            },
            vec!["name"],
        ),
        (
            CreateProductRequest {
                name: "t\0a".into(),
                ..tea(1)
            },
            vec!["name"],
        ),
        (
            CreateProductRequest {
                price: None,
                ..tea(1)
            },
            vec!["price"],
        ),
        (tea(0), vec!["price.minor_units"]),
        (tea(i64::MIN), vec!["price.minor_units"]),
        (
            CreateProductRequest {
                price: Some(dollars("usd")),
                ..tea(1)
            },
            vec!["price.currency_code"],
        ),
        (
            CreateProductRequest {
                product_id: Some("?".into()),
                name: String::new(),
                price: Some(dollars("")),
            },
            vec!["product_id", "name", "price.currency_code"],
        ),
    ];
    for (request, fields) in cases {
        let status = shop.create(Request::new(request.clone())).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{request:?}");
        assert_eq!(
            details(&status),
            (
                "INVALID_REQUEST".to_owned(),
                fields.iter().map(ToString::to_string).collect()
            )
        );
    }
    assert_eq!(shop.traces().await, (0, 0, 0));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_used_for_another_request_is_refused() {
    let shop = Shop::open().await;
    shop.create(keyed("one", tea(250))).await.unwrap();
    let before = shop.traces().await;
    let status = shop.create(keyed("one", tea(260))).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(details(&status).0, "IDEMPOTENCY_KEY_REUSED");
    for malformed in ["\"\"", "with a blank"] {
        let status = shop.create(keyed(malformed, tea(250))).await.unwrap_err();
        assert_eq!(details(&status).1, ["idempotency-key"]);
    }
    assert_eq!(shop.traces().await, before);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_cannot_change_to_nothing_or_to_another_currency_or_of_nothing() {
    let shop = Shop::open().await;
    let created = shop.create(Request::new(tea(250))).await.unwrap();
    let before = shop.traces().await;
    let change = async |product_id: &str, price| -> Status {
        let product_id = product_id.to_owned();
        let request = ChangePriceRequest {
            product_id,
            price: Some(price),
        };
        shop.client.clone().change_price(request).await.unwrap_err()
    };
    let yen = Money {
        currency_code: "JPY".to_owned(),
        minor_units: 250,
    };
    let status = change(&created.product_id, yen).await;
    assert_eq!(
        (status.code(), details(&status).0.as_str()),
        (Code::FailedPrecondition, "CURRENCY_MISMATCH")
    );
    let status = change(&created.product_id, euro(-1)).await;
    assert_eq!(
        (status.code(), details(&status).1),
        (Code::InvalidArgument, vec!["price.minor_units".to_owned()])
    );
    let status = change(&id().to_string(), euro(1)).await;
    assert_eq!(
        (status.code(), details(&status).0.as_str()),
        (Code::NotFound, "PRODUCT_NOT_FOUND")
    );
    assert_eq!(shop.traces().await, before);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found_and_what_was_only_asked_for_neither() {
    let shop = Shop::open().await;
    let product_id = id().to_string();
    let request = ChangePriceRequest {
        product_id: product_id.clone(),
        price: Some(euro(1)),
    };
    shop.client.clone().change_price(request).await.unwrap_err();
    let status = shop
        .client
        .clone()
        .get_product(GetProductRequest { product_id })
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), details(&status).0.as_str()),
        (Code::NotFound, "PRODUCT_NOT_FOUND")
    );
    let list = ListProductsRequest {
        page_size: 0,
        page_token: String::new(),
    };
    let page = shop
        .client
        .clone()
        .list_products(list)
        .await
        .unwrap()
        .into_inner();
    assert!(page.products.is_empty());
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_cannot_be_is_refused() {
    let shop = Shop::open().await;
    let list = ListProductsRequest {
        page_size: -1,
        page_token: "made-up".to_owned(),
    };
    let status = shop.client.clone().list_products(list).await.unwrap_err();
    assert_eq!(details(&status).1, ["page_size", "page_token"]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_more_than_a_mebibyte_is_refused() {
    let shop = Shop::open().await;
    let request = CreateProductRequest {
        name: "t".repeat(1 << 20),
        ..tea(1)
    };
    let status = shop.create(Request::new(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    assert_eq!(shop.traces().await, (0, 0, 0));
    shop.close().await;
}
