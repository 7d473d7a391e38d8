use std::path::PathBuf;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, ensure};
use failure_tests::until;

use crate::replay::{recorded, replayed};
use crate::stage::{Busy, audit, damaged};

/// Where the programs of another build are: `just upgrade` makes them.
fn build(name: &str) -> Result<PathBuf> {
    let folder = std::env::var_os("QUADRILLE_BUILDS").context("run it with: just upgrade")?;
    Ok(PathBuf::from(folder).join(name))
}

/// Tomorrow's build says more than today's, and nothing else; a careless one is found out by its first difference.
#[test]
#[ignore = "it needs several builds: just upgrade"]
fn what_today_decided_is_put_to_other_builds() {
    damaged(async |shop| {
        let busy = Busy::new(shop, 150, 9).await?;
        busy.order().await?;
        audit(shop, &busy.customer).await?;
        let folder = recorded(shop).await?;
        for programs in [shop.binaries().to_owned(), build("tomorrow")?] {
            let (code, reports) = replayed(shop, &folder, &programs).await?;
            ensure!(code == 0, "{}: {reports:#?}", programs.display());
        }
        let (code, reports) = replayed(shop, &folder, &build("careless")?).await?;
        ensure!(code == 1, "nobody noticed: {reports:#?}");
        for report in &reports {
            let differ = report["differ"].as_u64().context("a number")?;
            ensure!(
                (report["participant"] == "inventory") == (differ > 0),
                "{report:#}"
            );
        }
        let inventory = reports.iter().find(|report| report["participant"] == "inventory");
        let story = &inventory.context("inventory was asked")?["stories"][0];
        for (part, words) in [("came", "order.cancelled"), ("then", "stock.released")] {
            let text = story[part].as_str().unwrap_or_default();
            ensure!(text.contains(words), "'{words}' is not in {part}: {story:#}");
        }
        let now = story["now"].as_str().unwrap_or_default();
        ensure!(!now.contains("stock.released"), "{story:#}");
        Ok(())
    });
}

/// Services are replaced while orders come in: tomorrow's joins, and brings the database up to date under today's; today's
/// leaves; and then all of it back, since a deployment may turn out to be a mistake. Of the order service tomorrow's only joins.
#[test]
#[ignore = "it needs several builds: just upgrade"]
fn both_builds_work_side_by_side_and_either_may_leave() {
    damaged(async |shop| {
        let busy = Busy::new(shop, 700, 12).await?;
        let more = async |orders: usize| {
            let wanted = busy.progress.load(Ordering::Relaxed) + orders;
            until("orders to be placed", async || {
                let placed = busy.progress.load(Ordering::Relaxed);
                ensure!(placed >= wanted.min(700), "{placed} of {wanted}");
                Ok(())
            })
            .await
        };
        let deployment = async {
            let tomorrow = build("tomorrow")?;
            let mut joined = Vec::new();
            for name in ["inventory", "payment", "order"] {
                let next = shop.of_another_build(&tomorrow, name, &format!("{name}-tomorrow"))?;
                next.start_ready().await?;
                more(60).await?;
                // Customers call today's order service by its address.
                if name != "order" {
                    shop.program(name).stop().await?;
                    more(40).await?;
                    shop.program(name).start_ready().await?;
                    more(40).await?;
                    next.stop().await?;
                    more(30).await?;
                    next.start_ready().await?;
                }
                joined.push(next);
            }
            more(60).await?;
            anyhow::Ok(joined)
        };
        let ((), joined) = tokio::try_join!(busy.order(), deployment)?;
        let found = audit(shop, &busy.customer).await?;
        let (code, out, err) = shop
            .sagactl(&["audit", "--wait", "10", "--output", "json"])
            .await?;
        ensure!(code == 0, "{found}\n{out}{err}");

        // Else it would not have been side by side.
        let inventory = shop.database("inventory").await?;
        let (today, tomorrow): (i64, i64) = sqlx::query_as(
            "select count(*) filter (where units is null and state = 'sold'), count(units) from hold",
        )
        .fetch_one(&inventory)
        .await?;
        eprintln!("held by today's build: {today}, by tomorrow's: {tomorrow}");
        ensure!(today > 20 && tomorrow > 20, "{today} and {tomorrow}");
        drop(joined);
        Ok(())
    });
}
