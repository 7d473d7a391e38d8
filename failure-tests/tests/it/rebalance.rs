use std::sync::atomic::Ordering;

use anyhow::ensure;
use failure_tests::until;

use crate::stage::{Busy, alone, audit};

/// A second process of each service joins, then one of the two leaves in good order, or is killed.
#[test]
fn processes_join_and_leave_under_load() {
    alone(async |shop| {
        let busy = Busy::new(shop, 600, 5).await?;
        let reached = async |orders: usize| {
            until("orders to be placed", async || {
                let placed = busy.progress.load(Ordering::Relaxed);
                ensure!(placed >= orders, "{placed} of {orders}");
                Ok(())
            })
            .await
        };
        let nemesis = async {
            let mut moment = 30;
            for name in ["inventory", "payment", "order"] {
                let second = shop.another(name, &format!("{name}-second"))?;
                reached(moment).await?;
                second.start_ready().await?;
                reached(moment + 60).await?;
                second.stop().await?;
                reached(moment + 100).await?;
                second.start_ready().await?;
                reached(moment + 140).await?;
                // No farewell: its partitions are free when its session ends.
                second.kill()?;
                moment += 180;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(busy.order(), nemesis)?;
        audit(shop, &busy.customer).await?;
        Ok(())
    });
}

/// The first process leaves while the second is there: everything goes on with one that came later.
#[test]
fn a_service_is_handed_over_from_one_process_to_the_next() {
    alone(async |shop| {
        let busy = Busy::new(shop, 120, 6).await?;
        let handover = async {
            for name in ["inventory", "payment"] {
                let second = shop.another(name, &format!("{name}-next"))?;
                second.start_ready().await?;
                shop.program(name).stop().await?;
                let placed = busy.progress.load(Ordering::Relaxed);
                until("orders to be placed", async || {
                    let now = busy.progress.load(Ordering::Relaxed);
                    ensure!(now >= (placed + 20).min(120), "{now}");
                    Ok(())
                })
                .await?;
                shop.program(name).start_ready().await?;
                second.stop().await?;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(busy.order(), handover)?;
        audit(shop, &busy.customer).await?;
        Ok(())
    });
}
