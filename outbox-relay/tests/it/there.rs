use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use local_stack::{Proxy, TestStack, TestStackOptions, Weather};
use quadrille_process::fault;
use rdkafka::admin::TopicReplication;
use saga_core::partitioner::partition_for;
use uuid::Uuid;

use super::checker::{Checker, Reader};
use super::outages::{until_partitions, with_second_broker};
use super::parked::{append_all, crash_at, id, request_replay, until_parked};
use super::ring::until_settled;
use super::support::{Outbox, Running, append, until_down};

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
    let [small, large] = keys_of(0);
    let [other, _] = keys_of(1);
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

/// Two keys of one of two partitions.
fn keys_of(partition: i32) -> [String; 2] {
    let keys = (0..).map(|n| format!("key-{n}"));
    let mut found = keys.filter(|key| partition_for(key.as_bytes(), 2) == partition);
    [(); 2].map(|()| found.next().expect("keys go everywhere"))
}

/// The producer has to end, and was not told what became of its events: the broker is asked, as an owner before would be asked for.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_producer_has_written_and_not_heard_of_is_not_sent_again() -> Result<()> {
    let line = Proxy::open().await?;
    let servers = TestStackOptions {
        kafka_detours: vec![line.port()],
        ..TestStackOptions::default()
    };
    let stack = tokio::task::spawn_blocking(move || TestStack::with_options(&servers)).await??;
    line.lead_to(stack.kafka().detours().first().context("a detour")?)?;
    let outbox = Outbox::on(stack.addresses()).await?;
    let topic = outbox
        .create_topic("small", 1, &[("max.message.bytes", "100000")])
        .await?;
    let mut options = outbox.relay("a");
    options.kafka = vec![(
        "bootstrap.servers".to_owned(),
        format!("127.0.0.1:{}", line.port()),
    )];
    let produce = format!("relay::before_produce/{}", options.owner);
    let relay = Running::start(options);
    append_all(&outbox, &topic, &[("a", 100)]).await?;
    until_settled(&outbox).await;

    line.be(Weather::Deaf);
    append_all(&outbox, &topic, &[("a", 100), ("big", 20_000), ("a", 100)]).await?;
    Reader::new(&outbox, &topic, 1)?.take(4).await;
    // Sent once more it would be parked.
    outbox.alter_topic(&topic, "max.message.bytes", "10000").await?;
    fault::arm(&produce, "error@1")?;
    append_all(&outbox, &topic, &[("a", 100)]).await?;
    // The producer was given its time, and what it had on its way is thrown away.
    until_down(&relay, "asking what was written").await;
    line.be(Weather::Fair);

    let late = append_all(&outbox, &topic, &[("big", 100)]).await?;
    let reader = Reader::new(&outbox, &topic, 1)?;
    let came = read_until(&reader, |came| came.contains(&late[0])).await?;
    ensure!(came == 6, "{came} events");
    until_parked(&outbox, &[]).await;
    relay.stop().await;
    Ok(())
}

/// What a broker leads that is gone can neither be asked for nor written to. What others lead can be both.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_a_leader_does_not_keep_a_new_owner_from_the_others() -> Result<()> {
    let (_stack, second, outbox) = with_second_broker().await?;
    let apart = TopicReplication::Variable(&[&[1], &[2]]);
    let topic = outbox.create_placed_topic("apart", 2, apart, &[]).await?;
    let [[stays, _], [goes, _]] = [0, 1].map(keys_of);
    let mut writer = outbox.connect("it").await?;
    let mut append_version = async |key: &str, version: &str| {
        append(&mut writer, &topic, key, "t", Some(version.as_bytes()), "{}").await
    };
    append_version(&goes, "1").await?;
    let relay = Running::start(outbox.relay("stops"));
    until_settled(&outbox).await;
    relay.stop().await;
    append_version(&stays, "1").await?;
    crash_at("relay::after_ack", outbox.relay("dies")).await?;
    tokio::task::block_in_place(|| second.kill())?;
    until_partitions("a partition has no leader", &outbox, &topic, |partitions| {
        partitions.iter().any(|partition| partition.leader() < 0)
    })
    .await?;
    let relay = Running::start(outbox.relay("lives"));
    append_version(&stays, "2").await?;

    let reader = Reader::new(&outbox, &topic, 2)?;
    let mut checker = Checker::default();
    while checker.taken.get(&stays).is_none_or(|taken| taken.len() < 2) {
        for record in reader.take(1).await {
            checker.see(&record)?;
        }
    }
    ensure!(checker.duplicates == 0, "what could be looked up came again");
    append_version(&goes, "2").await?;
    tokio::task::block_in_place(|| second.start())?;
    let expected = BTreeMap::from([(stays, 2), (goes, 2)]);
    checker.finish(&reader, &expected).await?;
    relay.stop().await;
    Ok(())
}
