use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use outbox_relay::{Options, Phase, Unsendable};
use quadrille_process::fault;
use uuid::Uuid;

use super::checker::{Reader, Record};
use super::support::{Outbox, Running, append, eventually, run, until_down};

pub fn incompressible(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|_| rand::random()).collect()
}

pub fn id(record: &Record) -> Uuid {
    record.header("ce_id").unwrap().parse().unwrap()
}

pub fn ids(records: &[Record]) -> Vec<Uuid> {
    records.iter().map(id).collect()
}

/// Events of one transaction: they are in one window and, were it not for their size, in one batch.
pub async fn append_all(outbox: &Outbox, topic: &str, events: &[(&str, usize)]) -> Result<Vec<Uuid>> {
    let mut writer = outbox.connect("it").await?;
    run(&mut writer, "begin").await?;
    let mut ids = Vec::new();
    for &(key, size) in events {
        ids.push(append(&mut writer, topic, key, "t", Some(&incompressible(size)), "{}").await?);
    }
    run(&mut writer, "commit").await?;
    Ok(ids)
}

/// Keys that are parked, with how many events wait for each; '*' is a whole topic.
async fn parked(outbox: &Outbox) -> BTreeMap<String, i64> {
    let mut ops = outbox.connect("it_ops").await.unwrap();
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select case when whole then '*' else k.key end,
                (select count(*) from saga.outbox_parked_event e
                  where e.topic = k.topic and (k.whole or e.key = k.key))
           from saga.outbox_parked_key k",
    )
    .fetch_all(&mut ops)
    .await
    .unwrap();
    rows.into_iter().collect()
}

pub async fn until_parked(outbox: &Outbox, expected: &[(&str, i64)]) {
    let expected: BTreeMap<String, i64> = expected.iter().map(|(key, n)| ((*key).to_owned(), *n)).collect();
    eventually(&format!("parked: {expected:?}"), || async {
        parked(outbox).await == expected
    })
    .await;
}

/// As an operator does.
pub async fn request_replay(outbox: &Outbox) -> Result<()> {
    let mut ops = outbox.connect("it_ops").await?;
    run(
        &mut ops,
        "update saga.outbox_parked_key set replay_requested = clock_timestamp()",
    )
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_too_large_parks_its_key_until_it_is_replayed() -> Result<()> {
    too_large(|_| {}).await
}

/// What the broker gets is compressed, so it alone can tell.
#[tokio::test(flavor = "multi_thread")]
async fn the_broker_judges_what_is_compressed() -> Result<()> {
    let compressed = ("compression.type".to_owned(), "zstd".to_owned());
    too_large(|options| options.kafka.push(compressed)).await
}

pub async fn too_large(tune: impl FnOnce(&mut Options)) -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox
        .create_topic("small", 1, &[("max.message.bytes", "10000")])
        .await?;
    let mut options = outbox.relay("a");
    tune(&mut options);
    let relay = Running::start(options);

    let sizes = [
        ("k", 10),
        ("k", 9000),
        ("k", 20_000),
        ("other", 10),
        ("k", 10),
        ("other", 10),
    ];
    let sent = append_all(&outbox, &topic, &sizes).await?;
    let reader = Reader::new(&outbox, &topic, 1)?;
    // The other key shares the partition, and does not wait.
    let before = reader.take(4).await;
    assert_eq!(ids(&before), [sent[0], sent[1], sent[3], sent[5]]);
    for pair in before.windows(2) {
        assert_eq!(pair[1].previous(), Some(pair[0].position()), "no hole");
    }
    until_parked(&outbox, &[("k", 2)]).await;
    until_down(&relay, "1 key(s) or topic(s) are parked").await;

    // What comes later waits as well, and so it does behind a replay that is refused again.
    let later = append_all(&outbox, &topic, &[("k", 10), ("other", 10)]).await?;
    assert_eq!(ids(&reader.take(1).await), [later[1]]);
    until_parked(&outbox, &[("k", 3)]).await;
    request_replay(&outbox).await?;
    let mut ops = outbox.connect("it_ops").await?;
    eventually("the replay is refused", || {
        let outbox = outbox.clone();
        async move {
            let mut ops = outbox.connect("it_ops").await.unwrap();
            sqlx::query_scalar(
                "select tried_at is not null and replay_requested is null from saga.outbox_parked_key",
            )
            .fetch_one(&mut ops)
            .await
            .unwrap()
        }
    })
    .await;
    until_parked(&outbox, &[("k", 3)]).await;
    let why: (String, String, Uuid) = sqlx::query_as("select reason, key, event from saga.outbox_parked_key")
        .fetch_one(&mut ops)
        .await?;
    assert_eq!(why, ("too_large".to_owned(), "k".to_owned(), sent[2]));

    outbox.alter_topic(&topic, "max.message.bytes", "100000").await?;
    request_replay(&outbox).await?;
    let after = reader.take(3).await;
    assert_eq!(ids(&after), [sent[2], sent[4], later[0]]);
    until_parked(&outbox, &[]).await;
    // A consumer would take the old positions for duplicates.
    let all: Vec<&Record> = before.iter().chain(&after).collect();
    ensure!(all.windows(2).all(|pair| pair[0].position() < pair[1].position()));
    let again = append_all(&outbox, &topic, &[("k", 10)]).await?;
    assert_eq!(ids(&reader.take(1).await), again);
    relay.stop().await;
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
    let sent = append_all(&outbox, &topic, &[("k", 20_000), ("k", 10), ("k", 10), ("k", 10)]).await?;
    let relay = Running::start(options);
    until_parked(&outbox, &[("k", 4)]).await;
    outbox.alter_topic(&topic, "max.message.bytes", "100000").await?;
    request_replay(&outbox).await?;
    assert_eq!(ids(&Reader::new(&outbox, &topic, 1)?.take(4).await), sent);
    relay.stop().await;
    Ok(())
}

/// Someone may be about to make it. After a while the others do not wait any longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_waited_for_then_parked_and_goes_on_by_itself() -> Result<()> {
    let outbox = Outbox::new().await?;
    let there = outbox.create_topic("there", 1, &[]).await?;
    let mut options = outbox.relay("a");
    options.park_topic_after = Duration::from_secs(2);
    options.retry_parked_topic = Duration::from_secs(1);
    let relay = Running::start(options);
    let late = outbox.topic("late");
    let mut sent = append_all(&outbox, &late, &[("k", 10), ("l", 10)]).await?;
    relay
        .until("stopped", |phase| {
            matches!(phase, Phase::Stopped(stopped) if stopped.id == sent[0] && stopped.why == Unsendable::NoSuchTopic)
        })
        .await;
    let other = append_all(&outbox, &there, &[("k", 10)]).await?;
    assert_eq!(ids(&Reader::new(&outbox, &there, 1)?.take(1).await), other);
    sent.extend(append_all(&outbox, &late, &[("m", 10), ("k", 10)]).await?);
    until_parked(&outbox, &[("*", 4)]).await;
    relay.until_publishing().await;

    let late = outbox.create_topic("late", 1, &[]).await?;
    assert_eq!(ids(&Reader::new(&outbox, &late, 1)?.take(4).await), sent);
    until_parked(&outbox, &[]).await;
    relay.stop().await;
    Ok(())
}

/// Nobody is about to make it, so nobody else waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_cannot_be_made_is_parked_at_once() -> Result<()> {
    let outbox = Outbox::new().await?;
    let there = outbox.create_topic("there", 1, &[]).await?;
    let mut options = outbox.relay("a");
    options.park_topic_after = Duration::from_secs(3600);
    let relay = Running::start(options);
    append_all(&outbox, "no/such topic", &[("k", 10), ("l", 10)]).await?;
    append_all(&outbox, &"x".repeat(250), &[("k", 10)]).await?;
    let other = append_all(&outbox, &there, &[("k", 10)]).await?;
    assert_eq!(ids(&Reader::new(&outbox, &there, 1)?.take(1).await), other);
    let mut ops = outbox.connect("it_ops").await?;
    let reasons: Vec<String> = sqlx::query_scalar("select reason from saga.outbox_parked_key where whole")
        .fetch_all(&mut ops)
        .await?;
    assert_eq!(reasons, ["bad_topic_name"; 2]);
    // As its remedy says.
    run(&mut ops, "delete from saga.outbox_parked_event").await?;
    request_replay(&outbox).await?;
    until_parked(&outbox, &[]).await;
    relay.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_in_time_parks_nothing() -> Result<()> {
    let outbox = Outbox::new().await?;
    let relay = Running::start(outbox.relay("a"));
    let sent = append_all(&outbox, &outbox.topic("late"), &[("k", 10)]).await?;
    relay
        .until(
            "stopped",
            |phase| matches!(phase, Phase::Stopped(stopped) if stopped.id == sent[0]),
        )
        .await;
    let topic = outbox.create_topic("late", 3, &[]).await?;
    Reader::new(&outbox, &topic, 3)?.take(1).await;
    relay.until_publishing().await;
    ensure!(parked(&outbox).await.is_empty());
    relay.stop().await;
    Ok(())
}

/// One key of a topic that comes back is itself refused: it stays, the others go.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_a_topic_leaves_behind_what_is_too_large() -> Result<()> {
    let outbox = Outbox::new().await?;
    let mut options = outbox.relay("a");
    options.park_topic_after = Duration::ZERO;
    options.retry_parked_topic = Duration::from_secs(1);
    let relay = Running::start(options);
    let late = outbox.topic("late");
    let sent = append_all(
        &outbox,
        &late,
        &[("a", 10), ("b", 20_000), ("c", 10), ("b", 10), ("a", 10)],
    )
    .await?;
    until_parked(&outbox, &[("*", 5)]).await;
    let late = outbox
        .create_topic("late", 1, &[("max.message.bytes", "10000")])
        .await?;
    let reader = Reader::new(&outbox, &late, 1)?;
    assert_eq!(ids(&reader.take(3).await), [sent[0], sent[2], sent[4]]);
    until_parked(&outbox, &[("b", 2)]).await;
    outbox.alter_topic(&late, "max.message.bytes", "100000").await?;
    request_replay(&outbox).await?;
    assert_eq!(ids(&reader.take(2).await), [sent[1], sent[3]]);
    until_parked(&outbox, &[]).await;
    relay.stop().await;
    Ok(())
}

/// Wherever it dies, before the copies are made or after they went out again: nothing is lost, and what comes twice has
/// one position.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_parking_or_replaying_loses_nothing() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox
        .create_topic("small", 1, &[("max.message.bytes", "10000")])
        .await?;
    let reader = Reader::new(&outbox, &topic, 1)?;
    let sent = append_all(&outbox, &topic, &[("k", 20_000), ("other", 10), ("k", 10)]).await?;

    crash_at("relay::after_set_aside", outbox.relay("crashes")).await?;
    let relay = Running::start(outbox.relay("second"));
    assert_eq!(ids(&reader.take(1).await), [sent[1]]);
    until_parked(&outbox, &[("k", 2)]).await;
    relay.stop().await;

    outbox.alter_topic(&topic, "max.message.bytes", "100000").await?;
    request_replay(&outbox).await?;
    crash_at("relay::before_end_of_replay", outbox.relay("crashes")).await?;
    let first = reader.take(2).await;
    assert_eq!(ids(&first), [sent[0], sent[2]]);
    let relay = Running::start(outbox.relay("third"));
    until_parked(&outbox, &[]).await;
    let last = append_all(&outbox, &topic, &[("k", 10)]).await?;
    loop {
        let again = reader.take(1).await.remove(0);
        if id(&again) == last[0] {
            break;
        }
        let before = first.iter().find(|record| id(record) == id(&again));
        assert_eq!(before.map(Record::position), Some(again.position()));
    }
    relay.stop().await;
    Ok(())
}

/// A relay of its own reaches the point and is killed there.
pub async fn crash_at(point: &str, options: Options) -> Result<()> {
    let armed = format!("{point}/{}", options.owner);
    fault::arm(&armed, "delay:3600000@1")?;
    let relay = Running::start(options);
    eventually(&armed, || async { fault::hits(&armed) >= 1 }).await;
    relay.kill().await;
    fault::disarm(&armed);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_is_kept_as_it_was_and_the_rest_goes_out() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox
        .create_topic("small", 1, &[("max.message.bytes", "10000")])
        .await?;
    let relay = Running::start(outbox.relay("a"));
    let sent = append_all(&outbox, &topic, &[("k", 20_000), ("k", 10)]).await?;
    until_parked(&outbox, &[("k", 2)]).await;
    let mut ops = outbox.connect("it_ops").await?;
    run(
        &mut ops,
        "with gone as (delete from saga.outbox_parked_event where octet_length(payload) > 10000 returning *)
         insert into saga.outbox_discarded
                (position, topic, key, id, type, payload, headers, created_at, why, by_person)
         select position, topic, key, id, type, payload, headers, created_at, 'a test', 'it' from gone",
    )
    .await?;
    request_replay(&outbox).await?;
    assert_eq!(ids(&Reader::new(&outbox, &topic, 1)?.take(1).await), [sent[1]]);
    until_parked(&outbox, &[]).await;
    relay.stop().await;
    Ok(())
}

/// A crash brings back every window that the database does not know as acknowledged; the one that the event was parked
/// from must not be among them.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_does_not_come_back_after_a_crash() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox
        .create_topic("small", 1, &[("max.message.bytes", "10000")])
        .await?;
    let mut options = outbox.relay("a");
    // Only what somebody asks for is persisted.
    options.persist_every = Duration::from_secs(3600);
    options.lease = Duration::from_secs(3600);
    let relay = Running::start(options);
    let sent = append_all(&outbox, &topic, &[("k", 20_000), ("k", 10)]).await?;
    until_parked(&outbox, &[("k", 2)]).await;
    let mut ops = outbox.connect("it_ops").await?;
    run(
        &mut ops,
        "delete from saga.outbox_parked_event where octet_length(payload) > 10000",
    )
    .await?;
    request_replay(&outbox).await?;
    let reader = Reader::new(&outbox, &topic, 1)?;
    assert_eq!(ids(&reader.take(1).await), [sent[1]]);
    until_parked(&outbox, &[]).await;
    relay.kill().await;
    run(
        &mut outbox.superuser().await?,
        "update saga.relay set expires_at = '-infinity'",
    )
    .await?;

    let relay = Running::start(outbox.relay("b"));
    let last = append_all(&outbox, &topic, &[("k", 10)]).await?;
    while ids(&reader.take(1).await) != last {}
    ensure!(parked(&outbox).await.is_empty());
    relay.stop().await;
    Ok(())
}

/// So much is parked that something is thoroughly wrong: then everything waits, and somebody is told.
#[tokio::test(flavor = "multi_thread")]
async fn parking_has_a_bound() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox
        .create_topic("small", 1, &[("max.message.bytes", "10000")])
        .await?;
    let mut options = outbox.relay("a");
    options.parked_max = 2;
    let relay = Running::start(options);
    let sent = append_all(
        &outbox,
        &topic,
        &[("a", 20_000), ("b", 20_000), ("c", 20_000), ("d", 10)],
    )
    .await?;
    relay
        .until(
            "stopped",
            |phase| matches!(phase, Phase::Stopped(stopped) if stopped.id == sent[2]),
        )
        .await;
    until_parked(&outbox, &[("a", 1), ("b", 1)]).await;
    until_down(&relay, "max.message.bytes").await;
    outbox.alter_topic(&topic, "max.message.bytes", "100000").await?;
    assert_eq!(ids(&Reader::new(&outbox, &topic, 1)?.take(2).await), sent[2..]);
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
    let sent = append_all(&outbox, &small, &[("k", 300); 100]).await?;
    assert_eq!(ids(&Reader::new(&outbox, &small, 1)?.take(100).await), sent);
    assert_eq!(*relay.handle.phase().borrow(), Phase::Publishing);
    ensure!(parked(&outbox).await.is_empty());
    relay.stop().await;
    Ok(())
}

/// Neither must they when the topic takes less than it did when the producer was made: the batch is refused, and each of
/// them is innocent.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_batch_that_is_refused_are_not_parked_for_it() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("shrinks", 1, &[]).await?;
    let mut options = outbox.relay("a");
    options.kafka.push(("linger.ms".to_owned(), "50".to_owned()));
    let relay = Running::start(options);
    let reader = Reader::new(&outbox, &topic, 1)?;
    let first = append_all(&outbox, &topic, &[("k", 300)]).await?;
    assert_eq!(ids(&reader.take(1).await), first);
    outbox.alter_topic(&topic, "max.message.bytes", "5000").await?;
    let sent = append_all(&outbox, &topic, &[("k", 300); 100]).await?;
    assert_eq!(ids(&reader.take(100).await), sent);
    ensure!(parked(&outbox).await.is_empty());
    relay.stop().await;
    Ok(())
}
