use std::io::ErrorKind;

use anyhow::{Context as _, Result, ensure};
use failure_tests::clock::Clocks;
use failure_tests::customer::Pays;
use failure_tests::{Accountant, Customer, System, SystemOptions, until};
use quadrille_proto::order::v1::OrderStatus;

use crate::stage::{runtime, servers};

/// An hour, which is longer than any deadline of an order paid with a card.
const WRONG_BY_S: i64 = 3_600;
const DUE: &str =
    "select (extract(epoch from due_at - clock_timestamp()))::int8 from saga.timer where saga = $1";

/// A deadline fires on the database's clock, and so it is set on that clock: what the service takes for the time does not
/// make it early or late.
#[test]
fn a_clock_that_is_wrong_moves_no_deadline() {
    if !Clocks::POSSIBLE {
        eprintln!("skipped: clocks jump on Linux alone");
        return;
    }
    runtime().block_on(async { deadlines().await.unwrap_or_else(|error| panic!("{error:#}")) });
}

async fn deadlines() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("quadrille-clocks-{}", std::process::id()));
    let clocks = Clocks::new(&dir)?;
    let options = SystemOptions {
        settings: [("order", clocks.settings("order")?)].into(),
        ..SystemOptions::default()
    };
    let shop = System::start(servers()?, &options).await?;
    let customer = Customer::of(&shop)?;
    let tea = customer.product(450, 100).await?;
    let database = shop.database("order").await?;
    // Nothing that would end the order.
    shop.program("inventory").stop().await?;
    for by_s in [-WRONG_BY_S, WRONG_BY_S] {
        clocks.jump("order", by_s)?;
        until("the service to believe it", async || {
            let order = customer
                .order(customer.place(&[(tea, 1)], Pays::Card("tok_ok")).await?)
                .await?;
            let says = order.created_at.context("it says when it was placed")?.seconds;
            let is: i64 = sqlx::query_scalar("select extract(epoch from clock_timestamp())::int8")
                .fetch_one(&database)
                .await?;
            ensure!((says - is - by_s).abs() < 60, "it says {says}, and it is {is}");
            Ok(())
        })
        .await?;
        let order = customer.place(&[(tea, 1)], Pays::Card("tok_ok")).await?;
        let due: i64 = sqlx::query_scalar(DUE)
            .bind(order.to_string())
            .fetch_optional(&database)
            .await?
            .with_context(|| {
                format!("order {order} was given up at once with its clock wrong by {by_s} s")
            })?;
        ensure!(
            (0..=15 * 60).contains(&due),
            "its deadline is {due} s away with its clock wrong by {by_s} s"
        );
        assert_eq!(customer.order(order).await?.status(), OrderStatus::Pending);
    }
    clocks.jump("order", 0)?;
    shop.restore().await?;
    Accountant::new(&shop, &customer).audit().await?;
    drop(shop);
    // A program that is about to end may still write its clock there.
    until(
        "the clocks to be removed",
        async || match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    )
    .await
}
