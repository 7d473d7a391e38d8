use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, ensure};
use failure_tests::customer::{Customer, Pays};
use failure_tests::topics::Topics;
use failure_tests::{Provider, System, SystemOptions, until};
use local_stack::TestStack;
use quadrille_contracts::OrderId;
use rustix::process::{Pid, Signal, kill_process};
use saga_core::envelope::CE_TYPE;

use crate::stage::{Busy, audit, servers, with_servers};

async fn reached(busy: &Busy, orders: usize) -> Result<()> {
    until("orders to be placed", async || {
        let placed = busy.progress.load(Ordering::Relaxed);
        ensure!(placed >= orders, "{placed} of {orders}");
        Ok(())
    })
    .await
}

/// A server's own verbs block.
fn blocking<T>(work: impl FnOnce() -> Result<T, local_stack::StackError>) -> Result<T> {
    Ok(tokio::task::block_in_place(work)?)
}

#[test]
fn a_broker_that_goes_away_and_comes_back() {
    with_servers(
        SystemOptions::default(),
        async |shop: &System, stack: &TestStack| {
            let busy = Busy::new(shop, 300, 8).await?;
            let kafka = stack.kafka();
            let nemesis = async {
                reached(&busy, 50).await?;
                blocking(|| kafka.stop())?;
                // Orders are taken all the same: that is what an outbox is for.
                let before = busy.progress.load(Ordering::Relaxed);
                reached(&busy, before + 40)
                    .await
                    .context("while the broker is away")?;
                blocking(|| kafka.start())?;
                reached(&busy, 200).await?;
                blocking(|| kafka.kill())?;
                blocking(|| kafka.start())
            };
            tokio::try_join!(busy.order(), nemesis)?;
            audit(shop, &busy.customer).await?;
            Ok(())
        },
    );
}

#[test]
fn a_database_that_crashes_and_recovers() {
    with_servers(
        SystemOptions::default(),
        async |shop: &System, stack: &TestStack| {
            let busy = Busy::new(shop, 300, 9).await?;
            let postgres = stack.postgres();
            let nemesis = async {
                reached(&busy, 60).await?;
                blocking(|| postgres.stop_immediately())?;
                blocking(|| postgres.start())?;
                reached(&busy, 180).await?;
                blocking(|| postgres.kill())?;
                blocking(|| postgres.start())
            };
            tokio::try_join!(busy.order(), nemesis)?;
            audit(shop, &busy.customer).await?;
            Ok(())
        },
    );
}

const CLAIM: &str = "select claim_no from saga.effect where saga = $1";
/// Whatever would flush the log in the background.
const FLUSHERS: &str =
    "select pid from pg_stat_activity where backend_type in ('walwriter', 'background writer')";

/// Decisions of the consumer commit without waiting for the disk, and a crash may take them back. A call to the
/// outside cannot be taken back, so the claim waits for the disk, and with it what decided it.
///
/// The worst moment is made here: nothing else flushes the log, the provider (whose books are on another server) has
/// charged, and the database dies.
#[test]
fn a_call_is_never_made_whose_claim_a_crash_can_undo() {
    let elsewhere = SystemOptions {
        provider_postgres: Some(servers().expect("servers").postgres_admin_url.clone()),
        ..SystemOptions::default()
    };
    with_servers(elsewhere, async |shop: &System, stack: &TestStack| {
        let (customer, provider) = (Customer::of(shop)?, Provider::of(shop)?);
        let tea = customer.product(450, 1).await?;
        let payment = shop.program("payment");
        payment.stop().await?;
        let order = customer.place(&[(tea, 1)], Pays::Card("tok_ok")).await?;
        published(shop, order, "stock.reserved").await?;
        for name in ["order", "inventory", "product", "outbox-relay"] {
            shop.program(name).stop().await?;
        }
        let database = shop.database("payment").await?;
        sqlx::query("alter system set autovacuum = off")
            .execute(&database)
            .await?;
        sqlx::query("select pg_reload_conf()").execute(&database).await?;
        let flushers: Vec<i32> = sqlx::query_scalar(FLUSHERS).fetch_all(&database).await?;
        ensure!(
            flushers.len() == 2,
            "PostgreSQL has other processes than it had: {flushers:?}"
        );
        for pid in flushers {
            kill_process(Pid::from_raw(pid).context("a process id")?, Signal::STOP)?;
        }
        database.close().await;

        payment.restart_with("effect::after_call=abort@1").await?;
        payment.ended().await?;
        blocking(|| stack.postgres().kill())?;
        blocking(|| stack.postgres().start())?;

        let entry = provider.entry(order).await?.context("the provider has charged")?;
        assert_eq!(entry.charges, 1);
        let database = shop.database("payment").await?;
        let claim: Option<i64> = sqlx::query_scalar(CLAIM)
            .bind(order.to_string())
            .fetch_optional(&database)
            .await?;
        assert!(
            claim.is_some_and(|number| number > 0),
            "the claim of a call that was made is {claim:?}"
        );

        shop.restore().await?;
        customer.watch(order).await?;
        audit(shop, &customer).await?;
        Ok(())
    });
}

/// Waits until an event about an order is in its topic.
async fn published(shop: &System, order: OrderId, event: &str) -> Result<()> {
    let names: Vec<String> = quadrille_contracts::TOPICS
        .iter()
        .map(|topic| format!("{}{}", shop.prefix(), topic.name))
        .collect();
    let mut topics = Topics::open(shop.brokers(), &names)?;
    until("the event to be published", async || {
        tokio::task::block_in_place(|| topics.catch_up())?;
        let key = order.to_string();
        let found = topics
            .records
            .iter()
            .any(|record| record.key_text() == key && record.header(CE_TYPE) == Some(event));
        ensure!(found, "there is no {event} of {order}");
        Ok(())
    })
    .await
}
