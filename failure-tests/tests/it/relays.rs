use anyhow::{Result, ensure};
use failure_tests::{System, until};

use crate::stage::{Busy, alone, audit};

const FENCES: &str = "select source, fence from saga.relay";

/// The fence number of each outbox: who draws the next one takes over.
async fn fences(shop: &System) -> Result<Vec<(String, i64)>> {
    let mut all = Vec::new();
    for name in shop.outboxes() {
        let mut of_outbox: Vec<(String, i64)> = sqlx::query_as(FENCES)
            .fetch_all(&shop.database(name).await?)
            .await?;
        all.append(&mut of_outbox);
    }
    Ok(all)
}

/// A relay is frozen, another takes its leases over and publishes, and the first one wakes up in the middle of
/// what it was doing. Both have the same name, as a pod has that was restarted: only the fence tells them apart.
#[test]
fn a_relay_that_is_frozen_past_its_lease_and_woken_again() {
    alone(async |shop| {
        let (first, second) = (
            shop.program("outbox-relay"),
            shop.another("outbox-relay", "outbox-relay")?,
        );
        second.start_ready().await?;
        let busy = Busy::new(shop, 400, 4).await?;
        let nemesis = async {
            let (mut holder, mut other) = (first, &second);
            for at in [40, 160, 280] {
                until("orders to be placed", async || {
                    let placed = busy.progress.load(std::sync::atomic::Ordering::Relaxed);
                    ensure!(placed >= at, "{placed} of {at}");
                    Ok(())
                })
                .await?;
                let before = fences(shop).await?;
                holder.freeze()?;
                let taken_over = until("the other relay to take over", async || {
                    let now = fences(shop).await?;
                    let taken = before
                        .iter()
                        .filter(|(source, fence)| now.iter().any(|(s, f)| s == source && f > fence));
                    // All that the frozen one held; some may have been the other's before.
                    let (taken, all) = (taken.count(), before.len());
                    ensure!(taken > 0, "{taken} of {all}");
                    Ok(())
                })
                .await;
                holder.wake()?;
                taken_over?;
                std::mem::swap(&mut holder, &mut other);
            }
            anyhow::Ok(())
        };
        tokio::try_join!(busy.order(), nemesis)?;
        audit(shop, &busy.customer).await?;
        second.stop().await?;
        Ok(())
    });
}
