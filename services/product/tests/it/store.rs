use product::participant::{Catalogue, Listing, Product};
use product::store::{ALL, Tables};
use saga_core::{Currency, Money};
use saga_runtime::Store;
use saga_runtime::conformance::{self, Samples};
use service_testing::prepare;

use crate::harness::{id, world};

#[tokio::test(flavor = "multi_thread")]
async fn the_store_keeps_the_rules() {
    let world = world().await;
    let sagas = (0..4).map(|_| {
        let product_id = id();
        let at = |minor, currency| {
            Product::Listed(Listing {
                product_id,
                name: "Tee – „grün“".to_owned(),
                price: Money::new(minor, currency),
            })
        };
        (
            product_id,
            vec![
                at(1, Currency::EUR),
                at(i64::MAX, Currency::EUR),
                at(7, Currency::JPY),
            ],
        )
    });
    let samples = Samples {
        sagas: sagas.collect(),
        shared: Vec::new(),
    };
    conformance::check(&world.pool, &Catalogue, &Tables, &samples)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_runs_as_the_service_s_role() {
    let engine = saga_runtime::statements().map(|(_, name, sql)| (name, sql));
    prepare(&world().await.url(""), ALL.iter().copied().chain(engine))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_s_role_can_only_do_its_work() {
    let world = world().await;
    for forbidden in [
        "truncate product",
        "drop table product",
        "delete from saga.outbox",
    ] {
        let error = sqlx::query(forbidden).execute(&world.pool).await.unwrap_err();
        let code = error.as_database_error().unwrap().code();
        assert_eq!(code.as_deref(), Some("42501"), "{forbidden}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_only_asked_for_is_pruned_and_products_are_not() {
    let world = world().await;
    sqlx::query(
        "insert into product (id, name, price_minor, currency, created_at)
         select gen_random_uuid(), name, price, currency, created_at
           from (values ('tea', 1, 'EUR', now() - interval '1 year'), (null, null, null, now() - interval '1 year'),
                        (null, null, null, now())) as p (name, price, currency, created_at)",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let mut tx = world.pool.begin().await.unwrap();
    let before = chrono::Utc::now() - chrono::Duration::days(30);
    assert_eq!(Tables.prune_blank(&mut tx, before, 10).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let left: i64 = sqlx::query_scalar("select count(*) from product")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(left, 2);
}
