use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::checker::Reader;
use super::parked::{append_all, crash_at, id, until_parked};
use super::support::{Outbox, Running};

/// A relay dies before it has heard that an event is written, and the topic takes less by the time that the event goes out once
/// more. If it were parked, a replay would bring it under a position that nobody recognises.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_before_has_written_is_not_parked() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox
        .create_topic("small", 1, &[("max.message.bytes", "100000")])
        .await?;
    append_all(
        &outbox,
        &topic,
        &[
            ("a", 100),
            ("big", 20_000),
            ("b", 100),
            ("big", 30_000),
            ("big", 100),
        ],
    )
    .await?;
    crash_at("relay::after_ack", outbox.relay("dies")).await?;
    outbox.alter_topic(&topic, "max.message.bytes", "10000").await?;
    let relay = Running::start(outbox.relay("lives"));
    let late = append_all(&outbox, &topic, &[("big", 100), ("c", 20_000), ("big", 100)]).await?;
    // Which nobody has written.
    until_parked(&outbox, &[("c", 1)]).await;

    let reader = Reader::new(&outbox, &topic, 1)?;
    let (mut positions, mut last) = (BTreeMap::new(), None);
    while !positions.contains_key(&late[2]) {
        let record = reader.take(1).await.remove(0);
        let position = record.header("ce_sequence").unwrap().to_owned();
        let known = positions.entry(id(&record)).or_insert_with(|| position.clone());
        ensure!(*known == position, "{} comes again at {position}", id(&record));
        if last.as_ref().is_none_or(|last| *last < position) {
            let previous = record.header("ce_previoussequence").map(str::to_owned);
            ensure!(previous.is_none() || previous == last, "a hole before {position}");
            last = Some(position);
        }
    }
    ensure!(positions.len() == 7, "{} events", positions.len());
    relay.stop().await;
    Ok(())
}
