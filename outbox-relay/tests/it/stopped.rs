use anyhow::Result;
use outbox_relay::{Phase, Unsendable};

use super::checker::Reader;
use super::support::{Outbox, Running, append, until_down};

fn incompressible(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|_| rand::random()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_too_large_stops_its_outbox_visibly_until_the_topic_is_mended() -> Result<()> {
    too_large(&[]).await
}

/// What the broker gets is compressed, so it alone can tell.
#[tokio::test(flavor = "multi_thread")]
async fn the_broker_judges_what_is_compressed() -> Result<()> {
    too_large(&[("compression.type", "zstd")]).await
}

async fn too_large(kafka: &[(&str, &str)]) -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox
        .create_topic("small", 1, &[("max.message.bytes", "10000")])
        .await?;
    let other = Outbox::new().await?;
    let other_topic = other.create_topic("events", 1, &[]).await?;
    let mut options = outbox.relay("a");
    options.kafka.extend(
        kafka
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    let relay = Running::start(options);
    let other_relay = Running::start(other.relay("b"));

    let mut writer = outbox.connect("it").await?;
    // One transaction, so that they are in one window and, were it not for the size, in one batch.
    super::support::run(&mut writer, "begin").await?;
    let mut ids = Vec::new();
    for size in [10, 9000, 20_000, 10, 10] {
        let payload = incompressible(size);
        ids.push(append(&mut writer, &topic, "k", "t", Some(&payload), "{}").await?);
    }
    super::support::run(&mut writer, "commit").await?;

    relay
        .until("stopped", |phase| {
            matches!(phase, Phase::Stopped(stopped)
                if stopped.id == ids[2] && matches!(stopped.why, Unsendable::TooLarge { .. }))
        })
        .await;
    until_down(&relay, "max.message.bytes").await;
    let reader = Reader::new(&outbox, &topic, 1)?;
    let id = |record: &super::checker::Record| record.header("ce_id").unwrap().to_owned();
    let before: Vec<String> = reader.take(2).await.iter().map(id).collect();
    assert_eq!(before, [ids[0].to_string(), ids[1].to_string()]);

    // Another outbox in the same process does not care.
    let mut other_writer = other.connect("it").await?;
    append(&mut other_writer, &other_topic, "k", "t", Some(b"1"), "{}").await?;
    Reader::new(&other, &other_topic, 1)?.take(1).await;

    outbox.alter_topic(&topic, "max.message.bytes", "100000").await?;
    let after = reader.take(3).await;
    assert_eq!(
        after.iter().map(id).collect::<Vec<_>>(),
        [ids[2].to_string(), ids[3].to_string(), ids[4].to_string()]
    );
    relay.until_publishing().await;
    relay.stop().await;
    other_relay.stop().await;
    Ok(())
}

/// A broker lets a producer that it does not know begin with any sequence number. So the event behind one
/// that is refused would land, were it in flight already.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_overtakes_the_first_event_of_a_producer() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox
        .create_topic("small", 1, &[("max.message.bytes", "10000")])
        .await?;
    let mut options = outbox.relay("a");
    options
        .kafka
        .push(("compression.type".to_owned(), "zstd".to_owned()));
    let mut writer = outbox.connect("it").await?;
    super::support::run(&mut writer, "begin").await?;
    for size in [20_000, 10, 10, 10] {
        append(&mut writer, &topic, "k", "t", Some(&incompressible(size)), "{}").await?;
    }
    super::support::run(&mut writer, "commit").await?;
    let relay = Running::start(options);
    relay
        .until("stopped", |phase| matches!(phase, Phase::Stopped(_)))
        .await;
    outbox.alter_topic(&topic, "max.message.bytes", "100000").await?;
    let sizes: Vec<usize> = Reader::new(&outbox, &topic, 1)?
        .take(4)
        .await
        .iter()
        .map(|record| record.payload.as_ref().unwrap().len())
        .collect();
    assert_eq!(sizes, [20_000, 10, 10, 10]);
    relay.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_waited_for_and_never_made() -> Result<()> {
    let outbox = Outbox::new().await?;
    let relay = Running::start(outbox.relay("a"));
    let mut writer = outbox.connect("it").await?;
    let id = append(&mut writer, &outbox.topic("late"), "k", "t", Some(b"1"), "{}").await?;
    relay
        .until("stopped", |phase| {
            matches!(phase, Phase::Stopped(stopped) if stopped.id == id && stopped.why == Unsendable::NoSuchTopic)
        })
        .await;
    let topic = outbox.create_topic("late", 3, &[]).await?;
    Reader::new(&outbox, &topic, 3)?.take(1).await;
    relay.until_publishing().await;
    relay.stop().await;
    Ok(())
}

/// Small events that share a batch must not fail together because the batch is larger than the topic takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_never_larger_than_the_smallest_topic_takes() -> Result<()> {
    let outbox = Outbox::new().await?;
    let large = outbox.create_topic("large", 1, &[]).await?;
    let small = outbox
        .create_topic("small", 1, &[("max.message.bytes", "5000")])
        .await?;
    let mut options = outbox.relay("a");
    options.kafka.push(("linger.ms".to_owned(), "50".to_owned()));
    let relay = Running::start(options);
    let mut writer = outbox.connect("it").await?;
    append(&mut writer, &large, "k", "t", Some(b"1"), "{}").await?;
    Reader::new(&outbox, &large, 1)?.take(1).await;
    // The producer is there already, with batches for the large topic.
    super::support::run(&mut writer, "begin").await?;
    for _ in 0..100 {
        append(&mut writer, &small, "k", "t", Some(&[b'x'; 300]), "{}").await?;
    }
    super::support::run(&mut writer, "commit").await?;
    let records = Reader::new(&outbox, &small, 1)?.take(100).await;
    assert!(
        records
            .windows(2)
            .all(|pair| pair[0].position() < pair[1].position())
    );
    assert_eq!(*relay.handle.phase().borrow(), Phase::Publishing);
    relay.stop().await;
    Ok(())
}
