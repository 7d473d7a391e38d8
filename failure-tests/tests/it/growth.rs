use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, ensure};
use failure_tests::customer::Pays;
use failure_tests::topics::{Record, Topics};
use failure_tests::{Customer, Provider, System, until};
use quadrille_contracts::{OrderId, ProductId};
use quadrille_proto::order::v1::OrderStatus;
use saga_core::envelope::{CE_PREVIOUSSEQUENCE, CE_SEQUENCE};
use saga_core::partitioner::partition_for;
use saga_core::position::Position;
use saga_core::topic::PARTITIONS;
use saga_proof::audit::{Audit, Audited};
use saga_proof::record::{RecordError, Recorded};
use serde_json::json;

use crate::audit::{Said, Scene, asked, with, write};
use crate::cancelling::page_of;
use crate::replay::{recorded, replayed};
use crate::stage::{Busy, audit, damaged};

const TOPICS: [&str; 3] = ["order-events", "stock-events", "payment-events"];
const BEFORE: i32 = 12;
const GROWN: i32 = 20;

/// Orders are on their way whose first events are in the old partitions and whose last ones are in the new.
#[test]
fn topics_that_grow_under_load() {
    // Of its own: other scenarios count on topics as they were made.
    damaged(async |shop: &System| {
        let busy = Busy::new(shop, 400, 29).await?;
        let grow = async {
            until("orders flow", async || {
                let placed = busy.progress.load(Ordering::Relaxed);
                if placed >= 60 { Ok(()) } else { Err(placed) }
            })
            .await?;
            grow(shop).await
        };
        tokio::try_join!(busy.order(), grow)?;
        let after = Busy::new(shop, 60, 30).await?;
        after.order().await?;
        audit(shop, &after.customer).await?;
        audit(shop, &busy.customer).await?;
        for topic in TOPICS {
            ensure!(
                beyond(shop, topic)? > 0,
                "nothing is in the new partitions of {topic}"
            );
        }
        Ok(())
    });
}

async fn grow(shop: &System) -> Result<()> {
    let relay = shop.program("outbox-relay");
    let partitions = GROWN.to_string();
    for topic in TOPICS {
        let said = relay
            .told(&["grow", &shop.topic(topic), "--partitions", &partitions, "--yes"])
            .await?;
        ensure!(
            said.contains(&format!("keys are spread over {GROWN} partitions")),
            "{said}"
        );
    }
    Ok(())
}

fn beyond(shop: &System, topic: &str) -> Result<usize> {
    let mut topics = Topics::open(shop.brokers(), &[shop.topic(topic)])?;
    topics.catch_up()?;
    let old = i32::try_from(PARTITIONS)?;
    Ok(topics
        .records
        .iter()
        .filter(|record| record.partition >= old)
        .count())
}

/// The first events of an order are in one partition of each topic, the last ones in another, which is read before it.
/// Whoever reads what the topics hold decides and finds the same as if they had never grown.
#[test]
fn what_topics_hold_is_whole_although_they_grew() {
    damaged(async |shop| {
        let (customer, provider) = (Customer::of(shop)?, Provider::of(shop)?);
        let tea = customer.product(450, 100).await?;
        let [paid, cancelled] = [open(&customer, tea).await?, open(&customer, tea).await?];
        let page = page_of(&customer, paid).await?;
        page_of(&customer, cancelled).await?;
        grow(shop).await?;
        ensure!(provider.press(&page, "pay").await?, "the page takes no money");
        customer.cancel(cancelled).await?;
        for (order, end) in [
            (paid, OrderStatus::Confirmed),
            (cancelled, OrderStatus::Cancelled),
        ] {
            let ended = customer.watch(order).await?;
            ensure!(ended.status() == end, "{ended:?}");
        }
        let after = Busy::new(shop, 40, 31).await?;
        after.order().await?;
        audit(shop, &customer).await?;
        audit(shop, &after.customer).await?;
        for order in [paid, cancelled] {
            let records = tokio::task::block_in_place(|| records_of(shop, order))?;
            let partitions: BTreeSet<i32> = records.iter().map(|record| record.partition).collect();
            ensure!(
                partitions == [partition(order, GROWN), partition(order, BEFORE)].into(),
                "{partitions:?}"
            );
        }

        let folder = recorded(shop).await?;
        let (code, reports) = replayed(shop, &folder, shop.binaries()).await?;
        for report in &reports {
            ensure!(
                report["differ"] == 0
                    && report["undecided"] == json!([])
                    && report["same"].as_u64() >= Some(42),
                "{report:#}"
            );
        }
        ensure!((code, reports.len()) == (0, 3), "{code}: {reports:#?}");
        let audited = of_record(&folder)?;
        ensure!(audited.ended >= 42 && audited.open == 0, "{audited:?}");
        until("the audit to be clean", async || {
            let (code, answer) = asked(shop).await?;
            ensure!(code == 0 && answer["on_the_way"]["orders"] == 0, "{answer:#}");
            Ok(())
        })
        .await?;

        // Where the order was before its topic grew, after all that was told of it since, stands what was committed before
        // the last of that. Neither partition is out of order by itself.
        let mut of_paid = tokio::task::block_in_place(|| records_of(shop, paid))?;
        of_paid.retain(|record| record.partition == partition(paid, GROWN));
        let last = of_paid.pop().context("it was told that it is confirmed")?;
        let at = last.position().context("it came through the relay")?;
        let late = Position::new(at.epoch, at.window + 1_000_000_000, at.position - 1);
        let mut late = with(last, CE_SEQUENCE, &late.to_string());
        late.headers.retain(|(name, _)| name != CE_PREVIOUSSEQUENCE);
        late = with(late, "ce_type", "order.gift_wrapped");
        late.partition = partition(paid, BEFORE);
        let place = tokio::task::block_in_place(|| write(shop, &late))?;
        let mut scene = Scene {
            shop,
            known: Said::new(),
        };
        scene
            .shows(
                "reordered",
                "out_of_order",
                &place,
                "stands behind what was committed after it",
            )
            .await?;
        match of_record(&recorded(shop).await?) {
            Err(RecordError::Discrepancies(wrong)) => ensure!(
                wrong == [format!("{place}: {paid} is not in the order of its transactions")],
                "{wrong:?}"
            ),
            other => anyhow::bail!("nobody noticed: {other:?}"),
        }
        Ok(())
    });
}

fn partition(order: OrderId, partitions: i32) -> i32 {
    partition_for(order.to_string().as_bytes(), partitions)
}

/// An order that waits for its page to be paid, and whose events will go to a partition with a lower number.
async fn open(customer: &Customer, product: ProductId) -> Result<OrderId> {
    let key = (0..)
        .map(|number| format!("{}-{number}", uuid::Uuid::new_v4()))
        .find(|key| {
            let order = customer.order_under(key);
            partition(order, GROWN) < partition(order, BEFORE)
        })
        .context("one in five is")?;
    let request = customer.basket(&[(product, 1)], Pays::Page);
    let order = customer.try_place(request, Some(&key)).await?;
    ensure!(
        order.order_id == customer.order_under(&key).to_string(),
        "{order:?}"
    );
    Ok(order.order_id.parse()?)
}

/// What its own topic holds of an order, each partition in its order.
fn records_of(shop: &System, order: OrderId) -> Result<Vec<Record>> {
    let mut topics = Topics::open(shop.brokers(), &[shop.topic("order-events")])?;
    topics.catch_up()?;
    let mut records = topics.records;
    records.retain(|record| record.key_text() == order.to_string());
    Ok(records)
}

fn of_record(folder: &Path) -> Result<Audited, RecordError> {
    Audit::of("order.created")
        .ends_with("order.confirmed")
        .ends_with("order.rejected")
        .ends_with("order.cancelled")
        .holds("what is confirmed is paid", |order| {
            order.has("order.confirmed") == order.has("payment.succeeded")
                || order.has("order.cancelled") && order.has("payment.refunded")
        })
        .check(&Recorded::in_folder(folder)?)
}
