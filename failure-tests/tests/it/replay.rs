use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use failure_tests::System;
use quadrille_proto::order::v1::OrderStatus;
use serde_json::Value;

use crate::stage::{Busy, audit, everyday};

/// Exit code, and what each participant says.
pub(crate) async fn replayed(shop: &System, folder: &Path, programs: &Path) -> Result<(i32, Vec<Value>)> {
    let (folder, programs) = (folder.display().to_string(), programs.display().to_string());
    let arguments = [
        "replay",
        "run",
        &folder,
        "--programs",
        &programs,
        "--output",
        "json",
    ];
    let (code, out, err) = shop.sagactl(&arguments).await?;
    ensure!(code == 0 || code == 1, "{code}: {err}");
    Ok((code, serde_json::from_str(&out).context(out)?))
}

/// What the topics hold, in a folder.
pub(crate) async fn recorded(shop: &System) -> Result<PathBuf> {
    // A record has a folder of its own, and others record in this shop as well.
    let folder = shop.dir().join(format!("replay-{}", uuid::Uuid::new_v4()));
    let at = folder.display().to_string();
    let (code, _, err) = shop.sagactl(&["replay", "record", &at]).await?;
    ensure!(code == 0, "{code}: {err}");
    Ok(folder)
}

/// Orders of every end are decided again as they were; a record that was changed is told as a story.
#[test]
fn what_happened_happens_again() {
    everyday(async |shop| {
        let busy = Busy::new(shop, 150, 9).await?;
        busy.order().await?;
        let found = audit(shop, &busy.customer).await?;
        assert!(found.ended(OrderStatus::Confirmed) > 0, "{found}");
        let folder = recorded(shop).await?;
        let mut text = String::new();
        for entry in std::fs::read_dir(&folder)? {
            text.push_str(&std::fs::read_to_string(entry?.path())?);
        }
        assert!(!text.contains("tok_"), "a card's token was recorded");

        let (code, reports) = replayed(shop, &folder, shop.binaries()).await?;
        for report in &reports {
            // Orders of others are played with as well, while this one looks.
            let (same, differ) = (&report["same"], &report["differ"]);
            eprintln!(
                "{}: {same} the same, {differ} not; {} recorded inputs, {} inferred",
                report["participant"], report["recorded"], report["inferred"]
            );
            assert!(same.as_u64() >= Some(150), "{report:#}");
            assert_eq!(differ, 0, "{report:#}");
            assert_eq!(report["undecided"], serde_json::json!([]), "{report:#}");
        }
        assert_eq!((code, reports.len()), (0, 3));

        // As if what is sold had been put back: inventory would not say that.
        let accepted = busy.customer.accepted();
        let (path, line) = committed(
            &folder,
            &accepted.iter().map(ToString::to_string).collect::<Vec<_>>(),
        )?;
        let file = std::fs::read_to_string(&path)?;
        std::fs::write(
            &path,
            file.replace(&line, &line.replace("stock.committed", "stock.released")),
        )?;
        let (code, reports) = replayed(shop, &folder, shop.binaries()).await?;
        assert_eq!(code, 1);
        let inventory = &reports[1];
        assert_eq!(inventory["differ"], 1, "{inventory:#}");
        let story = &inventory["stories"][0];
        let says = |part: &str, what: &str| {
            let text = story[part].as_str().unwrap_or_default();
            assert!(text.contains(what), "'{what}' is not in {part}: {story:#}");
        };
        says("came", "order.confirmed");
        says("state", "Held");
        says("then", "stock.released");
        says("now", "stock.committed");
        Ok(())
    });
}

/// A record of a sale of one of these orders.
fn committed(folder: &Path, orders: &[String]) -> Result<(std::path::PathBuf, String)> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        let line = text.lines().find(|line| {
            line.contains("stock.committed") && orders.iter().any(|order| line.contains(order.as_str()))
        });
        if let Some(line) = line {
            return Ok((path, line.to_owned()));
        }
    }
    anyhow::bail!("nothing was sold")
}
