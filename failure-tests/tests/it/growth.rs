use std::sync::atomic::Ordering;

use anyhow::{Result, ensure};
use failure_tests::topics::Topics;
use failure_tests::{System, until};
use saga_core::topic::PARTITIONS;

use crate::stage::{Busy, audit, damaged};

/// Orders are on their way whose first events are in the old partitions and whose last ones are in the new.
#[test]
fn topics_that_grow_under_load() {
    // Of its own: other scenarios count on topics as they were made.
    damaged(async |shop: &System| {
        let busy = Busy::new(shop, 400, 29).await?;
        let topics = ["order-events", "stock-events", "payment-events"];
        let grow = async {
            until("orders flow", async || {
                let placed = busy.progress.load(Ordering::Relaxed);
                if placed >= 60 { Ok(()) } else { Err(placed) }
            })
            .await?;
            for topic in topics {
                let topic = shop.topic(topic);
                let relay = shop.program("outbox-relay");
                let said = relay
                    .told(&["grow", &topic, "--partitions", "20", "--yes"])
                    .await?;
                ensure!(said.contains("keys are spread over 20 partitions"), "{said}");
            }
            anyhow::Ok(())
        };
        tokio::try_join!(busy.order(), grow)?;
        let after = Busy::new(shop, 60, 30).await?;
        after.order().await?;
        audit(shop, &after.customer).await?;
        audit(shop, &busy.customer).await?;
        for topic in topics {
            ensure!(
                beyond(shop, topic)? > 0,
                "nothing is in the new partitions of {topic}"
            );
        }
        Ok(())
    });
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
