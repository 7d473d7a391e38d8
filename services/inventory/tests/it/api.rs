use anyhow::Result;
use quadrille_proto::inventory::v1::{GetStockRequest, ReceiveStockRequest};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::shop::{Shop, new_product};

fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_counts_once_per_key() -> Result<()> {
    let shop = Shop::open().await?;
    let book = new_product();
    let first = shop.receive_as("k-1", book, 5).await?;
    shop.receive_as("k-2", book, 7).await?;
    let again = shop.receive_as("k-1", book, 5).await?;
    assert_eq!(first, again);
    assert_eq!(first.stock.map(|stock| stock.on_hand), Some(5));

    let other = shop
        .receive_as("k-1", book, 6)
        .await
        .expect_err("another request");
    assert_eq!(other.code(), Code::FailedPrecondition);
    assert_eq!(reason(&other), "IDEMPOTENCY_KEY_REUSED");

    let stock = GetStockRequest {
        product_id: book.to_string(),
    };
    let shown = shop.api.clone().get_stock(stock).await?.into_inner().stock;
    let shown = shown.expect("a stock");
    assert_eq!((shown.received, shown.on_hand), (12, 12));
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_at_the_same_time_are_all_counted() -> Result<()> {
    let shop = Shop::open().await?;
    let book = new_product();
    let keys: Vec<String> = (0..200).map(|n| format!("k-{}", n / 2)).collect();
    let mut calls = tokio::task::JoinSet::new();
    for key in keys {
        let mut api = shop.api.clone();
        let mut request = Request::new(ReceiveStockRequest {
            product_id: book.to_string(),
            quantity: 3,
        });
        request.metadata_mut().insert("idempotency-key", key.parse()?);
        calls.spawn(async move { api.receive_stock(request).await });
    }
    while let Some(answer) = calls.join_next().await {
        answer??;
    }
    assert_eq!(shop.stock(book).await?, [300, 0, 0]);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_and_changes_nothing() -> Result<()> {
    let shop = Shop::open().await?;
    let wrong = ReceiveStockRequest {
        product_id: "book".into(),
        quantity: 0,
    };
    let status = shop
        .api
        .clone()
        .receive_stock(wrong)
        .await
        .expect_err("two mistakes");
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    let fields: Vec<&str> = details
        .bad_request()
        .map(|bad| bad.field_violations.as_slice())
        .unwrap_or_default()
        .iter()
        .map(|violation| violation.field.as_str())
        .collect();
    assert_eq!(fields, ["product_id", "quantity"]);

    let book = new_product();
    for quantity in [-1, 0, 1_000_000_001, i64::MAX, i64::MIN] {
        let status = shop
            .receive_as("k", book, quantity)
            .await
            .expect_err("no quantity");
        assert_eq!(status.code(), Code::InvalidArgument, "{quantity}");
    }
    for (product_id, code) in [
        (book.to_string(), Code::NotFound),
        (String::new(), Code::InvalidArgument),
    ] {
        let status = shop.api.clone().get_stock(GetStockRequest { product_id }).await;
        assert_eq!(status.expect_err("no stock").code(), code);
    }
    let rows: i64 =
        sqlx::query_scalar("select (select count(*) from shelf) + (select count(*) from saga.command)")
            .fetch_one(&shop.pool)
            .await?;
    assert_eq!(rows, 0);
    shop.close().await
}
