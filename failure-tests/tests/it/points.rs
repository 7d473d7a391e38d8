use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use failure_tests::customer::{Customer, Pays};
use failure_tests::{Provider, System, until};
use quadrille_proto::order::v1::OrderStatus;

use crate::stage::{Busy, alone, audit};

/// Orders flow; the program dies at the point's n-th hit, and comes back.
async fn dies_at(shop: &System, program: &str, point: &str, hits: &[u32]) -> Result<()> {
    let victim = shop.program(program);
    let busy = Busy::new(shop, 20 * hits.len(), 3).await?;
    let is_over = AtomicBool::new(false);
    let nemesis = async {
        for hit in hits {
            victim.restart_with(&format!("{point}=abort@{hit}")).await?;
            let died = victim.ended().await;
            died.with_context(|| format!("{program} at {point}, hit {hit}"))?;
            victim.start_ready().await?;
        }
        is_over.store(true, Ordering::Relaxed);
        anyhow::Ok(())
    };
    let load = async {
        busy.order().await?;
        // There has to be something to die of.
        while !is_over.load(Ordering::Relaxed) {
            busy.customer
                .place(&[(busy.shelves[0], 1)], Pays::Card("tok_ok"))
                .await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(load, nemesis)?;
    audit(shop, &busy.customer).await.map(drop)
}

#[test]
fn a_relay_that_dies_between_produce_and_acknowledgement() {
    alone(async |shop| {
        dies_at(
            shop,
            "outbox-relay",
            "relay::after_produce_before_ack",
            &[1, 3, 8],
        )
        .await
    });
}

#[test]
fn a_relay_that_dies_before_or_after_its_window_is_known_as_acknowledged() {
    alone(async |shop| {
        dies_at(shop, "outbox-relay", "relay::after_window_commit", &[1, 4]).await?;
        dies_at(shop, "outbox-relay", "relay::after_ack_before_persist", &[1, 2]).await
    });
}

#[test]
fn an_order_service_that_dies_between_commit_and_next_poll() {
    alone(async |shop| {
        dies_at(shop, "order", "engine::after_commit", &[2, 5]).await?;
        dies_at(shop, "order", "engine::before_commit", &[3]).await
    });
}

#[test]
fn an_inventory_that_dies_between_commit_and_next_poll() {
    alone(async |shop| {
        dies_at(shop, "inventory", "engine::after_commit", &[1, 4]).await?;
        dies_at(shop, "inventory", "engine::before_commit", &[2]).await
    });
}

#[test]
fn a_payment_service_that_dies_between_commit_and_next_poll() {
    alone(async |shop| {
        dies_at(shop, "payment", "engine::after_commit", &[1, 5]).await?;
        dies_at(shop, "payment", "engine::before_commit", &[3]).await
    });
}

const EFFECTS: &str = "select count(*) from saga.effect where due_at is not null";

/// The provider said yes and nobody was left to hear it.
#[test]
fn an_executor_that_dies_after_the_provider_said_yes() {
    alone(async |shop| {
        let (customer, provider) = (Customer::of(shop)?, Provider::of(shop)?);
        let tea = customer.product(450, 2).await?;
        let payment = shop.program("payment");
        let database = shop.database("payment").await?;
        for (point, charged) in [("effect::after_call", true), ("effect::after_claim", false)] {
            payment.restart_with(&format!("{point}=abort@1")).await?;
            let order = customer.place(&[(tea, 1)], Pays::Card("tok_ok")).await?;
            payment.ended().await.context(point)?;
            assert_eq!(provider.entry(order).await?.is_some(), charged, "{point}");
            payment.start_ready().await?;
            assert_eq!(customer.watch(order).await?.status(), OrderStatus::Confirmed);
            let entry = until("the books", async || {
                provider.entry(order).await?.context("no entry")
            })
            .await?;
            assert_eq!(entry.charges, 1, "{point}");
            // A webhook may have settled the order. The call that was interrupted is made once more
            // nevertheless, when its claim has run out, and is not to meet the next point.
            until("the executor to have nothing to do", async || {
                let left: i64 = sqlx::query_scalar(EFFECTS).fetch_one(&database).await?;
                ensure!(left == 0, "{left} effects are left");
                anyhow::Ok(())
            })
            .await?;
        }
        database.close().await;
        audit(shop, &customer).await?;
        Ok(())
    });
}
