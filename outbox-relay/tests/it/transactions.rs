use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use outbox_relay::Options;
use quadrille_process::fault;
use rand::{Rng as _, SeedableRng as _};
use tokio::process::{Child, Command};

use super::checker::{Checker, Reader};
use super::guarantees::crashes_at;
use super::leases::wakes_up;
use super::outages::private;
use super::parked::{append_all, ids, request_replay, too_large, until_parked};
use super::support::{Outbox, Running, run};
use super::writers::Writers;

fn transactional(options: &mut Options) {
    options.transactional_id = Some(options.source.to_string() + "-" + &database(options));
}

/// One id per outbox: every test has an outbox `it` of its own.
fn database(options: &Options) -> String {
    format!("{:?}", options.database).replace(|c: char| !c.is_ascii_alphanumeric(), "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_a_transaction_leaves_no_duplicate() -> Result<()> {
    once_each("relay::after_window_commit").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_a_commit_that_was_not_noted_leaves_no_duplicate() -> Result<()> {
    once_each("relay::after_produce_before_ack").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_commit_is_known_to_the_database_leaves_no_duplicate() -> Result<()> {
    once_each("relay::after_ack_before_persist").await
}

/// Large windows are several transactions.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_of_a_window_leaves_no_duplicate() -> Result<()> {
    once_each("relay::before_produce").await
}

async fn once_each(point: &str) -> Result<()> {
    let checked = crashes_at(point, transactional).await?;
    ensure!(checked.duplicates == 0, "{} came twice", checked.duplicates);
    Ok(())
}

/// The program, killed at any moment: also in the middle of a transaction.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_relay_had_sent_and_not_committed_is_seen_by_nobody() -> Result<()> {
    const WRITERS: Writers = Writers {
        tasks: 4,
        transactions: 60,
        keys: 40,
        seed: 7,
    };
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 3, &[]).await?;
    WRITERS.prepare(&outbox).await?;
    let mut expected = BTreeMap::new();
    let uncommitted = [
        ("bootstrap.servers", outbox.servers.kafka_brokers.as_str()),
        ("isolation.level", "read_uncommitted"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let sent = Reader::with(&uncommitted, &topic, 3)?;
    let mut all_sent = 0;
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    for _ in 0..7 {
        // So that each finds something to send, whatever the ones before have managed to commit.
        expected = WRITERS.write_more(&outbox, &topic).await?;
        let mut program = program(&outbox)?;
        // It has sent something, and may have committed it or not.
        all_sent += sent.take(1).await.len();
        let moment = Duration::from_micros(random.random_range(0..3_000));
        tokio::time::sleep(moment).await;
        program.kill().await?;
        while sent.next(Duration::from_millis(50)).await.is_some() {
            all_sent += 1;
        }
    }
    let mut last = program(&outbox)?;
    let checked = Checker::default()
        .finish(&Reader::new(&outbox, &topic, 3)?, &expected)
        .await?;
    last.kill().await?;
    ensure!(checked.duplicates == 0, "{} came twice", checked.duplicates);
    while sent.next(Duration::from_millis(200)).await.is_some() {
        all_sent += 1;
    }
    ensure!(
        all_sent > checked.count,
        "no relay was killed in the middle of a transaction: {all_sent} were sent, {} committed",
        checked.count
    );
    Ok(())
}

fn program(outbox: &Outbox) -> Result<Child> {
    Ok(Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .env_clear()
        .env("RELAY_SOURCES", outbox.source())
        .env("RELAY_KAFKA_BROKERS", &outbox.servers.kafka_brokers)
        .env("RELAY_TRANSACTIONAL_ID_PREFIX", &outbox.name)
        .env("RELAY_LEASE_MS", "1000")
        .env("RELAY_ADMIN_LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?)
}

/// It still has the producer, and what it read of its window.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_relay_that_wakes_up_adds_nothing() -> Result<()> {
    let checked = wakes_up("relay::before_produce", transactional).await?;
    ensure!(checked.duplicates == 0, "{} came twice", checked.duplicates);
    Ok(())
}

/// What Kafka says of such a commit next is the relay's own doing, and no other history.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_not_made_again() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 3, &[]).await?;
    let mut options = outbox.relay("a");
    transactional(&mut options);
    options.transaction_rows = 20;
    let commit = format!("relay::after_produce_before_ack/{}", options.owner);
    // Not the first: what the relay found at its beginning is behind it by then.
    fault::arm(&commit, "lost@3")?;
    let relay = Running::start(options);
    let writers = Writers {
        tasks: 4,
        transactions: 100,
        keys: 20,
        seed: 11,
    };
    let expected = writers.write(&outbox, &topic).await?;
    let reader = Reader::new(&outbox, &topic, 3)?;
    let checked = Checker::default().finish(&reader, &expected).await?;
    ensure!(fault::hits(&commit) > 3, "nothing was lost");
    ensure!(checked.duplicates == 0, "{} came twice", checked.duplicates);
    let (epoch, ..) = outbox.acked().await?;
    ensure!(epoch == 1, "it took its own commit for another history");
    relay.stop().await;
    Ok(())
}

/// The same with whole brokers, which forget nothing of a transaction that is being committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_during_commits_leaves_no_duplicate() -> Result<()> {
    let (stack, outbox, topic) = private().await?;
    let writers = Writers {
        tasks: 4,
        transactions: 200,
        keys: 20,
        seed: 11,
    };
    writers.prepare(&outbox).await?;
    let mut options = outbox.relay("a");
    transactional(&mut options);
    let relay = Running::start(options);
    let reader = Reader::new(&outbox, &topic, 3)?;
    let mut expected = BTreeMap::new();
    for _ in 0..2 {
        let writing = tokio::spawn({
            let (outbox, topic) = (outbox.clone(), topic.clone());
            async move { writers.write_more(&outbox, &topic).await }
        });
        reader.take(30).await;
        tokio::task::block_in_place(|| stack.kafka().kill())?;
        tokio::task::block_in_place(|| stack.kafka().start())?;
        expected = writing.await??;
    }
    let reader = Reader::new(&outbox, &topic, 3)?;
    let checked = Checker::default().finish(&reader, &expected).await?;
    ensure!(checked.duplicates == 0, "{} came twice", checked.duplicates);
    relay.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_too_large_parks_its_key_and_no_other() -> Result<()> {
    too_large(transactional).await
}

/// The broker alone can tell: it is found by being alone in a transaction.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_broker_refuses_is_found_among_others() -> Result<()> {
    too_large(|options| {
        transactional(options);
        options
            .kafka
            .push(("compression.type".to_owned(), "zstd".to_owned()));
    })
    .await
}

/// Parked, and the relay that parked it dies. What its key had published before must not wait with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_before_its_key_was_parked_does_not_come_again() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox
        .create_topic("small", 1, &[("max.message.bytes", "10000")])
        .await?;
    let mut options = outbox.relay("first");
    transactional(&mut options);
    // Nothing is noted in the database.
    options.persist_every = Duration::from_secs(3600);
    options.lease = Duration::from_secs(3600);
    let relay = Running::start(options);
    let sent = append_all(
        &outbox,
        &topic,
        &[("k", 10), ("other", 10), ("k", 20_000), ("other", 10)],
    )
    .await?;
    let reader = Reader::new(&outbox, &topic, 1)?;
    let before = reader.take(3).await;
    until_parked(&outbox, &[("k", 1)]).await;
    relay.kill().await;
    run(
        &mut outbox.superuser().await?,
        "update saga.relay set expires_at = clock_timestamp()",
    )
    .await?;

    let mut options = outbox.relay("second");
    transactional(&mut options);
    let relay = Running::start(options);
    relay.until_publishing().await;
    let later = append_all(&outbox, &topic, &[("other", 10)]).await?;
    ensure!(ids(&reader.take(1).await) == later);
    until_parked(&outbox, &[("k", 1)]).await;
    outbox.alter_topic(&topic, "max.message.bytes", "100000").await?;
    request_replay(&outbox).await?;
    let after = reader.take(1).await;
    ensure!(ids(&before) == [sent[0], sent[1], sent[3]] && ids(&after) == [sent[2]]);
    until_parked(&outbox, &[]).await;
    relay.stop().await;
    Ok(())
}
