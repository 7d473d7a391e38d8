use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use saga_core::partitioner::partition_for;
use uuid::Uuid;

use super::checker::Reader;
use super::parked::{append_all, crash_at, id, request_replay, until_parked};
use super::support::{Outbox, Running};

/// More than the last few records of a partition tell.
const MANY: usize = 40;

/// A relay dies before it has heard that its events are written, and the topic takes less by the time that they would go out
/// once more. What were parked then, a replay would bring under a position that nobody recognises.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_before_has_written_is_not_parked() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox
        .create_topic("small", 1, &[("max.message.bytes", "100000")])
        .await?;
    let mut sizes = vec![("a", 100); MANY];
    sizes.extend([("big", 20_000), ("b", 100), ("big", 30_000), ("big", 100)]);
    append_all(&outbox, &topic, &sizes).await?;
    crash_at("relay::after_ack", outbox.relay("dies")).await?;
    outbox.alter_topic(&topic, "max.message.bytes", "10000").await?;
    let relay = Running::start(outbox.relay("lives"));
    let late = append_all(&outbox, &topic, &[("big", 100), ("c", 20_000), ("big", 100)]).await?;
    // Which nobody has written.
    until_parked(&outbox, &[("c", 1)]).await;

    let reader = Reader::new(&outbox, &topic, 1)?;
    let came = read_until(&reader, |came| came.contains(&late[2])).await?;
    ensure!(came == MANY + 6, "{came} events");
    relay.stop().await;
    Ok(())
}

/// The same of what was parked, and is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_before_has_sent_again_is_not_parked_again() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox
        .create_topic("small", 1, &[("max.message.bytes", "10000")])
        .await?;
    let relay = Running::start(outbox.relay("parks"));
    append_all(&outbox, &topic, &[("big", 20_000), ("a", 100), ("big", 100)]).await?;
    until_parked(&outbox, &[("big", 2)]).await;
    relay.stop().await;
    outbox.alter_topic(&topic, "max.message.bytes", "100000").await?;
    request_replay(&outbox).await?;
    crash_at("relay::before_end_of_replay", outbox.relay("dies")).await?;
    outbox.alter_topic(&topic, "max.message.bytes", "10000").await?;
    let relay = Running::start(outbox.relay("lives"));
    until_parked(&outbox, &[]).await;
    let late = append_all(&outbox, &topic, &[("big", 100)]).await?;
    let reader = Reader::new(&outbox, &topic, 1)?;
    let came = read_until(&reader, |came| came.contains(&late[0])).await?;
    ensure!(came == 4, "{came} events");
    relay.stop().await;
    Ok(())
}

/// Reads until enough came. Each comes once, behind what came before in its partition, and if it names that one, it is the
/// last that came. Returns how many came.
async fn read_until(reader: &Reader, enough: impl Fn(&BTreeSet<Uuid>) -> bool) -> Result<usize> {
    let (mut came, mut ends) = (BTreeSet::new(), BTreeMap::new());
    while !enough(&came) {
        let record = reader.take(1).await.remove(0);
        let position = record.position();
        ensure!(
            came.insert(id(&record)),
            "{} comes again at {position}",
            id(&record)
        );
        let last = ends.insert(record.partition, position);
        ensure!(last < Some(position), "{position} comes after {last:?}");
        let previous = record.previous();
        ensure!(previous.is_none() || previous == last, "a hole before {position}");
    }
    Ok(came.len())
}

/// A batch is refused while those of another partition are acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_behind_a_refused_event_is_not_sent_again() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox
        .create_topic("small", 2, &[("max.message.bytes", "10000")])
        .await?;
    let key_of = |partition| {
        let keys = (0..).map(|n| format!("key-{n}"));
        let mut found = keys.filter(|key| partition_for(key.as_bytes(), 2) == partition);
        (found.next().unwrap(), found.next().unwrap())
    };
    let ((small, large), (other, _)) = (key_of(0), key_of(1));
    let mut sizes = vec![(other.as_str(), 100), (&small, 100), (&large, 20_000)];
    sizes.extend([(other.as_str(), 100); MANY]);
    sizes.push((&small, 100));
    let sent = append_all(&outbox, &topic, &sizes).await?;
    let mut options = outbox.relay("a");
    // What the broker gets is compressed, so it alone can tell.
    options
        .kafka
        .push(("compression.type".to_owned(), "zstd".to_owned()));
    let relay = Running::start(options);
    until_parked(&outbox, &[(&large, 1)]).await;
    let late = append_all(&outbox, &topic, &[(&other, 100), (&small, 100)]).await?;
    let reader = Reader::new(&outbox, &topic, 2)?;
    read_until(&reader, |came| came.len() == sent.len() + late.len() - 1).await?;
    let later = reader.next(Duration::from_millis(500)).await;
    ensure!(later.is_none(), "{later:?} comes again");
    relay.stop().await;
    Ok(())
}
