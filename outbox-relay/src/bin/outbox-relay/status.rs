use std::process::ExitCode;

use anyhow::bail;
use chrono::Utc;
use outbox_relay::status::{self, Status};

use crate::config::Sources;

/// A line per outbox.
pub(crate) async fn show(sources: Sources) -> anyhow::Result<ExitCode> {
    let line = |cells: [&str; 8]| {
        let [a, b, c, d, e, f, g, h] = cells;
        println!("{a:<20} {b:<12} {c:>11} {d:>6} {e:>10} {f:>6} {g:>17} {h}");
    };
    line([
        "OUTBOX",
        "RELAY",
        "UNPUBLISHED",
        "PARKED",
        "OLDEST",
        "EPOCH",
        "WINDOW",
        "OWNER",
    ]);
    let mut failed = Vec::new();
    for source in sources.0 {
        let name = source.name.as_str();
        let read = async { status::read(&source.database.primary().await?).await };
        match read.await {
            Ok(Some(status)) => line([
                name,
                if status.held { "running" } else { "none" },
                &unpublished(&status),
                &status.parked.to_string(),
                &oldest(&status),
                &status.epoch.to_string(),
                &status.acked_window.to_string(),
                status.owner.as_deref().unwrap_or("-"),
            ]),
            Ok(None) => line([name, "never ran", "?", "?", "?", "-", "-", "-"]),
            Err(error) => {
                line([name, "unreachable", "?", "?", "?", "-", "-", "-"]);
                failed.push(format!("{name}: {:#}", anyhow::Error::from(error)));
            }
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}

fn unpublished(status: &Status) -> String {
    const COUNTED: i64 = 100_000;
    if status.unpublished > COUNTED {
        format!(">{COUNTED}")
    } else {
        status.unpublished.to_string()
    }
}

fn oldest(status: &Status) -> String {
    status.oldest.map_or_else(
        || "-".to_owned(),
        |oldest| format!("{} s", (Utc::now() - oldest).num_seconds().max(0)),
    )
}
