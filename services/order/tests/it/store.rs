use chrono::{Duration, Utc};
use order::participant::{Held, Method, Order, Orders, Placed};
use order::store::{Tables, statements};
use quadrille_contracts::order::{CancelReason, Line};
use quadrille_contracts::{OrderId, ProductId};
use saga_core::{Currency, Money};
use saga_runtime::Store;
use saga_runtime::conformance::{self, Samples};
use service_testing::prepare;
use uuid::Uuid;

use crate::harness::world;

/// Every shape that an order can have.
fn course(order_id: OrderId) -> Vec<Order> {
    let line = |quantity| Line {
        product_id: ProductId(Uuid::new_v4()),
        quantity,
        unit_price: Money::new(1 << 53, Currency::JPY),
    };
    let placed = Placed {
        order_id,
        owner: "Ann „die Käuferin“ O'Neill \\ {}".to_owned(),
        lines: vec![line(2), line(10_000)],
        total: Money::new(i64::MAX, Currency::JPY),
        method: Method::HostedPage,
        page_url: None,
    };
    let shown = Placed {
        page_url: Some("https://pay.example/?a=1&b=2".to_owned()),
        ..placed.clone()
    };
    let card = Placed {
        method: Method::Card,
        lines: vec![line(1)],
        ..placed.clone()
    };
    let mut course = vec![
        Order::Pending { placed },
        Order::Pending {
            placed: shown.clone(),
        },
        Order::Confirmed {
            placed: shown.clone(),
        },
        Order::Rejected { placed: card.clone() },
    ];
    let reasons = [
        CancelReason::Customer,
        CancelReason::Deadline,
        CancelReason::PaymentFailed,
        CancelReason::PaymentExpired,
    ];
    for reason in reasons {
        for money in [Held::Unknown, Held::Nothing, Held::Owed] {
            course.push(Order::Cancelled {
                placed: shown.clone(),
                reason,
                money,
            });
        }
        course.push(Order::Refunded {
            placed: card.clone(),
            reason,
        });
    }
    course
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_keeps_the_rules() {
    let world = world().await;
    let prices = vec![
        Money::new(1, Currency::EUR),
        Money::new(i64::MAX, Currency::JPY),
        Money::new(7, Currency::EUR),
    ];
    let samples = Samples {
        sagas: (0..4)
            .map(|_| OrderId(Uuid::new_v4()))
            .map(|id| (id, course(id)))
            .collect(),
        shared: (0..3)
            .map(|_| (ProductId(Uuid::new_v4()), prices.clone()))
            .collect(),
    };
    conformance::check(&world.pool, &Orders::default(), &Tables, &samples)
        .await
        .unwrap();
}

/// Orders of one product do not wait for each other, nor for a change of its price.
#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_read_without_a_lock() {
    let world = world().await;
    let product = ProductId(Uuid::new_v4());
    let price = Money::new(250, Currency::EUR);
    let mut publishing = world.pool.begin().await.unwrap();
    Tables.load_shared(&mut publishing, &[product]).await.unwrap();
    Tables
        .save(&mut publishing, &[], &[(product, price)], Utc::now())
        .await
        .unwrap();

    let mut placing = world.pool.begin().await.unwrap();
    let impatient = "set local lock_timeout = '50ms'";
    sqlx::query(impatient).execute(&mut *placing).await.unwrap();
    let known = Tables.read_shared(&mut placing, &[product]).await.unwrap();
    assert_eq!(known, [(product, None)], "not committed yet");
    publishing.commit().await.unwrap();
    let known = Tables.read_shared(&mut placing, &[product]).await.unwrap();
    assert_eq!(known, [(product, Some(price))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_runs_as_the_service_s_role() {
    let engine = saga_runtime::statements().map(|(_, name, sql)| (name, sql));
    prepare(&world().await.url(""), statements().chain(engine))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_s_role_can_only_do_its_work() {
    let world = world().await;
    for forbidden in ["truncate orders", "drop table price", "delete from saga.outbox"] {
        let error = sqlx::query(forbidden).execute(&world.pool).await.unwrap_err();
        let code = error.as_database_error().unwrap().code();
        assert_eq!(code.as_deref(), Some("42501"), "{forbidden}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_only_asked_for_is_pruned_and_orders_are_not() {
    let world = world().await;
    let order_id = OrderId(Uuid::new_v4());
    let confirmed = course(order_id).remove(2);
    let saved = saga_runtime::Saved {
        key: order_id,
        state: confirmed.clone(),
        ended: true,
    };
    let absent = OrderId(Uuid::new_v4());
    let price = ProductId(Uuid::new_v4());
    let mut tx = world.pool.begin().await.unwrap();
    let mut keys = [order_id, absent];
    keys.sort_unstable();
    Tables.load(&mut tx, &keys).await.unwrap();
    Tables.load_shared(&mut tx, &[price]).await.unwrap();
    let long_ago = Utc::now() - Duration::days(365);
    Tables.save(&mut tx, &[saved], &[], long_ago).await.unwrap();
    let soon = Utc::now() + Duration::minutes(1);
    assert_eq!(Tables.prune_blank(&mut tx, soon, 100).await.unwrap(), 2);
    let left: i64 = sqlx::query_scalar("select count(*) from orders")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(left, 1);
    assert_eq!(
        Tables.load(&mut tx, &[order_id]).await.unwrap(),
        [(order_id, confirmed)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_created_when_it_is_placed_and_ends_once() {
    let world = world().await;
    let order_id = OrderId(Uuid::new_v4());
    let mut tx = world.pool.begin().await.unwrap();
    Tables.load(&mut tx, &[order_id]).await.unwrap();
    let at = |seconds| chrono::DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap();
    let course = course(order_id);
    for (second, (state, ended)) in [(0, false), (5, true), (6, true)].into_iter().enumerate() {
        let saved = saga_runtime::Saved {
            key: order_id,
            state: course[state].clone(),
            ended,
        };
        let now = at(i64::try_from(second).unwrap());
        Tables.save(&mut tx, &[saved], &[], now).await.unwrap();
    }
    let times: (
        chrono::DateTime<Utc>,
        chrono::DateTime<Utc>,
        chrono::DateTime<Utc>,
        i64,
    ) = sqlx::query_as("select created_at, updated_at, ended_at, version from orders")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(times, (at(0), at(2), at(1), 3));
}
