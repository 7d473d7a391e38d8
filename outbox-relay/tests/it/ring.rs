use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use local_stack::TestStack;
use saga_core::partitioner::partition_for;

use super::checker::{Checker, Reader};
use super::parked::{append_all, ids, request_replay, until_parked};
use super::support::{Outbox, Running, append, eventually};

/// A broker that can be frozen, with a topic whose partitions the relay has written to already.
pub async fn frozen_later(config: &[(&str, &str)]) -> Result<(TestStack, Outbox, String)> {
    let stack = tokio::task::spawn_blocking(TestStack::private).await??;
    let outbox = Outbox::on(stack.addresses()).await?;
    let topic = outbox.create_topic("events", 2, config).await?;
    Ok((stack, outbox, topic))
}

/// A key of each partition.
fn keys() -> [String; 2] {
    [0, 1].map(|partition| {
        (0..)
            .map(|n| format!("key-{n}"))
            .find(|key| partition_for(key.as_bytes(), 2) == partition)
            .unwrap()
    })
}

pub async fn until_settled(outbox: &Outbox) {
    eventually("everything is acknowledged", || async {
        let mut connection = outbox.superuser().await.unwrap();
        let highest: i64 = sqlx::query_scalar("select last_value from saga.outbox_position")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let reached = matches!(outbox.acked().await, Ok((_, _, acked)) if acked == highest);
        reached && windows(outbox).await.1 == 0
    })
    .await;
}

/// Windows: all, and those that are not acknowledged.
async fn windows(outbox: &Outbox) -> (i64, i64) {
    let mut connection = outbox.superuser().await.unwrap();
    sqlx::query_as(
        "select count(*), count(*) filter (where win > (select acked_win from saga.relay)) from saga.relay_window",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap()
}

/// Until the relay has written down what is acknowledged, twice: the first may have begun before.
async fn until_persisted(outbox: &Outbox) {
    for _ in 0..2 {
        let expires = async || {
            let mut connection = outbox.superuser().await.unwrap();
            sqlx::query_scalar::<_, chrono::DateTime<chrono::Utc>>("select expires_at from saga.relay")
                .fetch_one(&mut connection)
                .await
                .unwrap()
        };
        let before = expires().await;
        eventually("the lease is renewed", async || expires().await > before).await;
    }
}

pub async fn until_unacknowledged(outbox: &Outbox, expected: i64) {
    eventually(&format!("{expected} windows are on their way"), || async {
        windows(outbox).await.1 == expected
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_takes_its_time_does_not_hold_up_the_next_windows() -> Result<()> {
    let (stack, outbox, topic) = frozen_later(&[]).await?;
    let [one, two] = keys();
    let mut versions: BTreeMap<String, i64> = BTreeMap::new();
    let mut writer = outbox.connect("it").await?;
    let mut write = async |key: &String| -> Result<()> {
        let version = versions.entry(key.clone()).or_default();
        *version += 1;
        append(
            &mut writer,
            &topic,
            key,
            "t",
            Some(version.to_string().as_bytes()),
            "{}",
        )
        .await?;
        Ok(())
    };
    // Windows are counted here, so none may go.
    let mut options = outbox.relay_that_keeps_rows("a");
    options.in_flight_windows = 4;
    let relay = Running::start(options);
    for key in [&one, &two] {
        write(key).await?;
    }
    until_settled(&outbox).await;
    let before = windows(&outbox).await.0;

    stack.kafka().pause();
    for opened in 1..=4 {
        write(if opened % 2 == 0 { &one } else { &two }).await?;
        until_unacknowledged(&outbox, opened).await;
    }
    // The ring is full: these share a window, once there is room.
    for key in [&one, &two, &one] {
        write(key).await?;
        until_persisted(&outbox).await;
    }
    until_unacknowledged(&outbox, 4).await;
    let oldest = relay.handle.oldest_unpublished();
    ensure!(oldest > std::time::Duration::ZERO, "nothing is said to wait");
    stack.kafka().resume();
    until_settled(&outbox).await;
    let opened = windows(&outbox).await.0 - before;
    ensure!(opened == 5, "4 windows and 1 for what came later, not {opened}");

    // The same, and the relay dies of it.
    stack.kafka().pause();
    for opened in 1..=3 {
        write(if opened % 2 == 0 { &one } else { &two }).await?;
        until_unacknowledged(&outbox, opened).await;
    }
    until_persisted(&outbox).await;
    relay.kill().await;
    stack.kafka().resume();
    let next = Running::start(outbox.relay("b"));
    let reader = Reader::new(&outbox, &topic, 2)?;
    Checker::default().finish(&reader, &versions).await?;
    until_settled(&outbox).await;
    next.stop().await;
    Ok(())
}

/// Something is parked, and nobody wants it to be sent again: windows go out as ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_does_not_hold_up_the_next_windows() -> Result<()> {
    let (stack, outbox, topic) = frozen_later(&[("max.message.bytes", "10000")]).await?;
    let [one, two] = keys();
    let mut options = outbox.relay("a");
    options.in_flight_windows = 1_000;
    let relay = Running::start(options);
    append_all(&outbox, &topic, &[("parked", 20_000), (&one, 10), (&two, 10)]).await?;
    until_parked(&outbox, &[("parked", 1)]).await;
    until_settled(&outbox).await;

    stack.kafka().pause();
    // It is looked once a second.
    let begun = std::time::Instant::now();
    let mut opened = 0;
    while begun.elapsed() < std::time::Duration::from_secs(3) {
        append_all(
            &outbox,
            &topic,
            &[(if opened % 2 == 0 { &one } else { &two }, 10)],
        )
        .await?;
        opened += 1;
        until_unacknowledged(&outbox, opened).await;
    }
    stack.kafka().resume();
    until_settled(&outbox).await;
    relay.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_refused_takes_only_its_key_along_from_the_windows_behind() -> Result<()> {
    let (stack, outbox, topic) = frozen_later(&[("max.message.bytes", "10000")]).await?;
    let [one, two] = keys();
    let mut options = outbox.relay("a");
    // So that it is the broker who finds out.
    options
        .kafka
        .push(("compression.type".to_owned(), "zstd".to_owned()));
    let relay = Running::start(options);
    let mut sent = append_all(&outbox, &topic, &[(&one, 10), (&two, 10)]).await?;
    until_settled(&outbox).await;

    stack.kafka().pause();
    let windows: [&[(&str, usize)]; 4] = [
        &[(&one, 20_000)],
        &[(&one, 10), (&two, 10)],
        &[("also-one", 10), (&two, 10)],
        &[(&one, 10)],
    ];
    for (opened, events) in (1..).zip(windows) {
        sent.extend(append_all(&outbox, &topic, events).await?);
        until_unacknowledged(&outbox, opened).await;
    }
    stack.kafka().resume();
    until_parked(&outbox, &[(&one, 3)]).await;
    until_settled(&outbox).await;
    outbox.alter_topic(&topic, "max.message.bytes", "100000").await?;
    request_replay(&outbox).await?;
    until_parked(&outbox, &[]).await;
    until_settled(&outbox).await;
    relay.stop().await;

    // Known duplicates aside: all of it, once, and each key in its order.
    let reader = Reader::new(&outbox, &topic, 2)?;
    let mut seen: BTreeMap<i32, Vec<_>> = BTreeMap::new();
    let mut taken = Vec::new();
    while let Some(record) = reader.next(std::time::Duration::from_secs(2)).await {
        let positions = seen.entry(record.partition).or_default();
        if positions.last().is_none_or(|last| record.position() > *last) {
            positions.push(record.position());
            taken.push(record);
        } else {
            ensure!(positions.contains(&record.position()), "out of order: {record:?}");
        }
    }
    let of = |key: &str| {
        let records: Vec<_> = taken.iter().filter(|record| record.key == key).cloned().collect();
        ids(&records)
    };
    assert_eq!(of(&one), [sent[0], sent[2], sent[3], sent[7]]);
    assert_eq!(of(&two), [sent[1], sent[4], sent[6]]);
    assert_eq!(of("also-one"), [sent[5]]);
    Ok(())
}
