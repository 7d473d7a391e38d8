use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use local_stack::{Addresses, Kafka, TestStack};
use outbox_relay::{Health, Phase, status};
use rdkafka::ClientConfig;
use rdkafka::admin::TopicReplication;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::MetadataPartition;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnection;
use tokio::process::Child;

use super::checker::{Checker, Reader};
use super::program::serve;
use super::ring::until_settled;
use super::support::{Outbox, PATIENCE, Running, append, eventually, until_down};
use super::writers::Writers;

const WRITERS: Writers = Writers {
    tasks: 4,
    transactions: 150,
    keys: 20,
    seed: 7,
};

/// Servers that may be killed, and an outbox on them.
pub async fn private() -> Result<(TestStack, Outbox, String)> {
    let stack = tokio::task::spawn_blocking(TestStack::private).await??;
    let outbox = Outbox::on(stack.addresses()).await?;
    let topic = outbox.create_topic("events", 3, &[]).await?;
    Ok((stack, outbox, topic))
}

/// The same with a second broker, of which partitions may have replicas, and without a topic.
pub async fn with_second_broker() -> Result<(TestStack, Kafka, Outbox)> {
    let stack = tokio::task::spawn_blocking(TestStack::private).await??;
    let second = tokio::task::block_in_place(|| stack.second_broker())?;
    let outbox = Outbox::on(stack.addresses()).await?;
    Ok((stack, second, outbox))
}

/// Waits until the broker says so of a topic's partitions. A question that was on its way to a broker that was killed has no
/// answer.
pub async fn until_partitions(
    what: &str,
    outbox: &Outbox,
    topic: &str,
    are: impl Fn(&[MetadataPartition]) -> bool,
) -> Result<()> {
    let kafka: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &outbox.servers.kafka_brokers)
        .create()?;
    eventually(what, || async {
        let asked = tokio::task::block_in_place(|| kafka.fetch_metadata(Some(topic), Duration::from_secs(1)));
        asked.is_ok_and(|metadata| metadata.topics().iter().any(|known| are(known.partitions())))
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_comes_back_costs_nothing_but_time() -> Result<()> {
    let (stack, outbox, topic) = private().await?;
    let relay = Running::start(outbox.relay("a"));
    WRITERS.write(&outbox, &topic).await?;
    tokio::task::block_in_place(|| stack.kafka().kill())?;
    // Writers do not notice.
    let expected = WRITERS.write_more(&outbox, &topic).await?;
    until_down(&relay, "broker is in trouble").await;
    ensure!(relay.handle.oldest_unpublished() > Duration::ZERO);
    ensure!(
        *relay.handle.phase().borrow() == Phase::Publishing,
        "the lease is kept"
    );
    tokio::task::block_in_place(|| stack.kafka().start())?;
    let reader = Reader::new(&outbox, &topic, 3)?;
    Checker::default().finish(&reader, &expected).await?;
    relay.stop().await;
    Ok(())
}

/// What waits is in the outbox, and not in the relay's memory as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_waits_for_the_broker_in_bounded_memory() -> Result<()> {
    let (stack, outbox, topic) = private().await?;
    let program = serve(&outbox, &outbox.source(), &[])?;
    let mut writer = outbox.connect("it").await?;
    write_many(&mut writer, &topic).await?;
    until_settled(&outbox).await;
    let before = peak_kb(&program)?;
    tokio::task::block_in_place(|| stack.kafka().kill())?;
    for _ in 0..20 {
        write_many(&mut writer, &topic).await?;
    }
    tokio::task::block_in_place(|| stack.kafka().start())?;
    until_settled(&outbox).await;
    let grown = peak_kb(&program)? - before;
    // 300 MB were waiting.
    ensure!(grown < 100 * 1024, "the relay grew by {grown} kB");

    let kafka: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &outbox.servers.kafka_brokers)
        .create()?;
    let mut arrived = 0;
    for partition in 0..3 {
        let held = tokio::task::block_in_place(|| kafka.fetch_watermarks(&topic, partition, PATIENCE))?;
        arrived += held.1;
    }
    ensure!(arrived >= 210_000, "{arrived} of 210,000 events are there");
    Ok(())
}

/// 10,000 events of 1,500 bytes, which are few enough not to be compressed by the database.
async fn write_many(writer: &mut PgConnection, topic: &str) -> Result<()> {
    sqlx::query(
        "insert into saga.outbox (id, aggregatetype, aggregateid, type, payload)
         select gen_random_uuid(), $1, 'k' || i % 100, 't', convert_to(repeat('x', 1500), 'UTF8')
           from generate_series(1, 10000) i",
    )
    .bind(topic)
    .execute(writer)
    .await?;
    Ok(())
}

/// The most memory that a process has ever had.
fn peak_kb(program: &Child) -> Result<u64> {
    let id = program.id().context("it runs")?;
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.context("it has a peak")?;
    Ok(peak.trim_end_matches("kB").trim().parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_starts_while_the_broker_is_away_says_what_waits() -> Result<()> {
    let (stack, outbox, topic) = private().await?;
    // Its successor knows the topics, and looks at them before its first window.
    let before = Running::start(outbox.relay("a"));
    WRITERS.write(&outbox, &topic).await?;
    let database = outbox.options("it_relay");
    eventually("everything is published", || async {
        matches!(status::read(&database).await, Ok(Some(status)) if status.unpublished == 0)
    })
    .await;
    before.stop().await;
    tokio::task::block_in_place(|| stack.kafka().kill())?;
    let expected = WRITERS.write_more(&outbox, &topic).await?;
    let relay = Running::start(outbox.relay("b"));
    until_down(&relay, "broker is in trouble").await;
    ensure!(relay.handle.oldest_unpublished() > Duration::ZERO);
    tokio::task::block_in_place(|| stack.kafka().start())?;
    let reader = Reader::new(&outbox, &topic, 3)?;
    Checker::default().finish(&reader, &expected).await?;
    relay.stop().await;
    Ok(())
}

/// The broker refuses each event of it, and means none of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_lost_its_quorum_parks_nothing() -> Result<()> {
    let (_stack, second, outbox) = with_second_broker().await?;
    // The first broker leads, and is the one that stays.
    let both = TopicReplication::Variable(&[&[1, 2], &[1, 2], &[1, 2]]);
    let topic = outbox
        .create_placed_topic("events", 3, both, &[("min.insync.replicas", "2")])
        .await?;
    let relay = Running::start(outbox.relay("a"));
    let mut writer = outbox.connect("it").await?;
    append_version(&mut writer, &topic, 1).await?;
    let reader = Reader::new(&outbox, &topic, 3)?;
    let mut checker = Checker::default();
    for record in reader.take(2).await {
        checker.see(&record)?;
    }
    until_settled(&outbox).await;

    tokio::task::block_in_place(|| second.kill())?;
    until_partitions(
        "one replica is left of each partition",
        &outbox,
        &topic,
        |partitions| partitions.len() == 3 && partitions.iter().all(|partition| partition.isr() == [1]),
    )
    .await?;
    for version in 2..=4 {
        append_version(&mut writer, &topic, version).await?;
    }
    eventually("what waits gets old", || async {
        relay.handle.oldest_unpublished() >= Duration::from_secs(3)
    })
    .await;
    // More than once: that the second broker is gone is told to readers as well.
    for _ in 0..5 {
        let early = reader.next(Duration::from_millis(200)).await;
        ensure!(early.is_none(), "one replica was enough for {early:?}");
    }
    let status = status::read(&outbox.options("it_relay")).await?;
    let status = status.context("a relay is there")?;
    ensure!((status.unpublished, status.parked) == (6, 0), "{status:?}");
    ensure!(*relay.handle.phase().borrow() == Phase::Publishing);

    tokio::task::block_in_place(|| second.start())?;
    let expected = BTreeMap::from(KEYS.map(|key| (key.to_owned(), 4)));
    checker.finish(&reader, &expected).await?;
    eventually("the relay is well", || async {
        relay.handle.health() == Health::Up
    })
    .await;
    relay.stop().await;
    Ok(())
}

const KEYS: [&str; 2] = ["one", "two"];

/// Appends the next event of each key.
async fn append_version(writer: &mut PgConnection, topic: &str, version: i64) -> Result<()> {
    for key in KEYS {
        append(
            writer,
            topic,
            key,
            "t",
            Some(version.to_string().as_bytes()),
            "{}",
        )
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_and_recovers_loses_nothing() -> Result<()> {
    let (stack, outbox, topic) = private().await?;
    let relay = Running::start(outbox.relay("a"));
    WRITERS.write(&outbox, &topic).await?;
    tokio::task::block_in_place(|| stack.postgres().stop_immediately())?;
    relay
        .until("notices", |phase| matches!(phase, Phase::Failing { .. }))
        .await;
    tokio::task::block_in_place(|| stack.postgres().start())?;
    let expected = WRITERS.write_more(&outbox, &topic).await?;
    let reader = Reader::new(&outbox, &topic, 3)?;
    Checker::default().finish(&reader, &expected).await?;
    relay.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_the_one_that_takes_writes_is_served_also_after_a_failover() -> Result<()> {
    let (stack, outbox, topic) = private().await?;
    let standby = tokio::task::block_in_place(|| stack.standby())?;
    let mut options = outbox.relay("a");
    let servers = format!("{},{}", standby.address(), stack.postgres().address());
    let url = outbox.options("it_relay").to_url_lossy().to_string();
    options.database = url.replace(&stack.postgres().address(), &servers).parse()?;
    let relay = Running::start(options);
    WRITERS.write(&outbox, &topic).await?;
    let database = outbox.options("it_relay");
    eventually("everything is published", || async {
        matches!(status::read(&database).await, Ok(Some(status)) if status.unpublished == 0)
    })
    .await;

    // Waits until the standby has everything.
    tokio::task::block_in_place(|| stack.postgres().stop())?;
    until_down(&relay, "no server that takes writes").await;
    let promoted = Outbox {
        servers: Addresses {
            postgres_admin_url: standby.admin_url(),
            ..stack.addresses()
        },
        name: outbox.name,
    };
    let is_primary: bool = sqlx::query_scalar("select pg_promote()")
        .fetch_one(&mut promoted.admin().await?)
        .await?;
    ensure!(is_primary);
    let expected = WRITERS.write_more(&promoted, &topic).await?;
    let reader = Reader::new(&promoted, &topic, 3)?;
    Checker::default().finish(&reader, &expected).await?;
    relay.stop().await;
    Ok(())
}
