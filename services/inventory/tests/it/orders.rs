use anyhow::Result;
use serde_json::json;
use service_testing::until;
use uuid::Uuid;

use crate::shop::{Shop, cancelled, confirmed, created, new_order, new_product};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_sold_or_put_back() -> Result<()> {
    let shop = Shop::open().await?;
    let (book, pen) = (new_product(), new_product());
    shop.receive(book, 10).await?;
    shop.receive(pen, 2).await?;

    let sold = new_order();
    shop.send(&created(sold, &[(book, 3), (pen, 1)])).await?;
    shop.until_published(sold, &["stock.reserved"]).await?;
    assert_eq!(
        (shop.stock(book).await?, shop.stock(pen).await?),
        ([7, 3, 0], [1, 1, 0])
    );
    shop.send(&confirmed(sold)).await?;
    let payloads = shop
        .until_published(sold, &["stock.reserved", "stock.committed"])
        .await?;
    let lines = json!([{"product_id": book, "quantity": 3}, {"product_id": pen, "quantity": 1}]);
    assert_eq!(payloads[1], json!({"order_id": sold, "lines": lines}));
    assert_eq!(
        (shop.stock(book).await?, shop.stock(pen).await?),
        ([7, 0, 3], [1, 0, 1])
    );

    let put_back = new_order();
    shop.send(&created(put_back, &[(book, 7)])).await?;
    shop.until_published(put_back, &["stock.reserved"]).await?;
    shop.send(&cancelled(put_back)).await?;
    shop.until_published(put_back, &["stock.reserved", "stock.released"])
        .await?;
    assert_eq!(shop.stock(book).await?, [7, 0, 3]);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_short_of_one_thing_holds_nothing() -> Result<()> {
    let shop = Shop::open().await?;
    let (book, pen, ghost) = (new_product(), new_product(), new_product());
    shop.receive(book, 10).await?;
    shop.receive(pen, 2).await?;
    let order = new_order();
    shop.send(&created(order, &[(book, 1), (pen, 3), (ghost, 1)]))
        .await?;
    let payloads = shop.until_published(order, &["stock.rejected"]).await?;
    let shortages = json!([
        {"product_id": pen, "requested": 3, "available": 2},
        {"product_id": ghost, "requested": 1, "available": 0},
    ]);
    assert_eq!(payloads[0]["shortages"], shortages);
    assert_eq!(
        (shop.stock(book).await?, shop.stock(pen).await?),
        ([10, 0, 0], [2, 0, 0])
    );
    shop.close().await
}

/// The same record twice, the same event under another id, and the end before the beginning.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_twice_or_too_early_counts_once() -> Result<()> {
    let shop = Shop::open().await?;
    let book = new_product();
    shop.receive(book, 10).await?;

    let (twice, early) = (new_order(), new_order());
    let id = Uuid::new_v4();
    shop.send_as(id, &created(twice, &[(book, 4)])).await?;
    shop.send_as(id, &created(twice, &[(book, 4)])).await?;
    shop.send(&created(twice, &[(book, 4)])).await?;
    shop.send(&cancelled(early)).await?;
    shop.send(&created(early, &[(book, 1)])).await?;
    shop.send(&cancelled(early)).await?;
    shop.send(&confirmed(twice)).await?;
    shop.send(&confirmed(twice)).await?;
    until("all records are read", || async {
        let read: Option<i64> = sqlx::query_scalar(
            "select sum(next_offset)::int8 from saga.consumer_offset where consumer like '%inventory' and next_offset > 0",
        )
        .fetch_one(&shop.pool)
        .await?;
        Ok(read == Some(8))
    })
    .await?;
    shop.until_published(twice, &["stock.reserved", "stock.committed"])
        .await?;
    shop.until_published(early, &[]).await?;
    assert_eq!(shop.stock(book).await?, [6, 0, 4]);
    let parked: i64 = sqlx::query_scalar("select count(*) from saga.parked_key")
        .fetch_one(&shop.pool)
        .await?;
    assert_eq!(parked, 0);
    shop.close().await
}

/// Retention takes the order's barrier away in the moment between finding it and locking it. What is decided
/// then must not be lost: units would be held for an order that knows nothing of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_row_is_pruned_meanwhile_is_kept() -> Result<()> {
    let shop = Shop::open().await?;
    let (book, order) = (new_product(), new_order());
    shop.receive(book, 10).await?;
    shop.send(&cancelled(order)).await?;
    until("the barrier is there", || async {
        let barrier: Option<String> = sqlx::query_scalar("select state from hold where order_id = $1")
            .bind(order.0)
            .fetch_optional(&shop.pool)
            .await?;
        Ok(barrier.as_deref() == Some("cancelled"))
    })
    .await?;

    let mut pruner = shop.pool.begin().await?;
    sqlx::query("select from hold where order_id = $1 for update")
        .bind(order.0)
        .execute(&mut *pruner)
        .await?;
    shop.send(&created(order, &[(book, 4)])).await?;
    until("the service waits for the row", || async {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(&shop.pool)
        .await?;
        Ok(waiting == 1)
    })
    .await?;
    sqlx::query("delete from hold where order_id = $1")
        .bind(order.0)
        .execute(&mut *pruner)
        .await?;
    pruner.commit().await?;

    shop.until_published(order, &["stock.reserved"]).await?;
    assert_eq!(shop.stock(book).await?, [6, 4, 0]);
    shop.send(&cancelled(order)).await?;
    shop.until_published(order, &["stock.reserved", "stock.released"])
        .await?;
    assert_eq!(shop.stock(book).await?, [10, 0, 0]);
    shop.close().await
}

/// All partitions at once, all for the same shelves, in both orders.
#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_everybody_wants_is_given_out_exactly() -> Result<()> {
    let shop = Shop::open().await?;
    let (book, pen) = (new_product(), new_product());
    shop.receive(book, 100).await?;
    shop.receive(pen, 1000).await?;
    let orders: Vec<_> = (0..300).map(|_| new_order()).collect();
    for (n, order) in orders.iter().enumerate() {
        let lines = match n % 2 {
            0 => [(book, 1), (pen, 1)],
            _ => [(pen, 1), (book, 1)],
        };
        shop.send(&created(*order, &lines)).await?;
    }
    until("every order has its answer", || async {
        let answers: i64 = sqlx::query_scalar("select count(*) from saga.outbox")
            .fetch_one(&shop.pool)
            .await?;
        Ok(answers == 300)
    })
    .await?;
    let reserved: i64 = sqlx::query_scalar("select count(*) from saga.outbox where type = 'stock.reserved'")
        .fetch_one(&shop.pool)
        .await?;
    assert_eq!(reserved, 100);
    assert_eq!(
        (shop.stock(book).await?, shop.stock(pen).await?),
        ([0, 100, 0], [900, 100, 0])
    );
    shop.close().await
}
