use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use outbox_relay::{Instance, Options, Relay};
use quadrille_process::fault;

use super::checker::Reader;
use super::support::{Outbox, Running, eventually};

/// How many have a turn at a time: one for each processor, four at least and sixteen at most.
fn turns() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).max(4)
}

async fn outboxes(count: usize) -> Result<Vec<Outbox>> {
    let mut outboxes = Vec::new();
    for _ in 0..count {
        outboxes.push(Outbox::new().await?);
    }
    Ok(outboxes)
}

/// A backlog of ten keys, each with its versions in order.
async fn fill(outbox: &Outbox, topic: &str, events: i32) -> Result<()> {
    let mut writer = outbox.connect("it").await?;
    sqlx::query(
        "insert into saga.outbox (id, aggregatetype, aggregateid, type, payload)
         select gen_random_uuid(), $1, 'k' || n % 10, 't', convert_to((n / 10)::text, 'UTF8')
           from generate_series(0, $2 - 1) as n",
    )
    .bind(topic)
    .bind(events)
    .execute(&mut writer)
    .await?;
    Ok(())
}

/// To which each window is a big one, and a backlog many pieces.
fn in_small_pieces(outbox: &Outbox) -> Options {
    let mut options = outbox.relay("a");
    options.chunk_rows = 20;
    options.in_flight_events = 40;
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn outboxes_that_take_turns_lose_nothing_and_keep_the_order() -> Result<()> {
    const EVENTS: i32 = 3000;
    let outboxes = outboxes(turns() + 3).await?;
    let mut topics = Vec::new();
    for outbox in &outboxes {
        let topic = outbox.create_topic("events", 1, &[]).await?;
        fill(outbox, &topic, EVENTS).await?;
        topics.push(topic);
    }
    let instance = Instance::new();
    let running: Vec<_> = outboxes
        .iter()
        .map(|outbox| Running::run(Relay::new(in_small_pieces(outbox)).of(&instance)))
        .collect();
    for (outbox, topic) in outboxes.iter().zip(&topics) {
        let mut next: BTreeMap<String, i32> = BTreeMap::new();
        for record in Reader::new(outbox, topic, 1)?.take(EVENTS.try_into()?).await {
            let version = next.entry(record.key.clone()).or_default();
            let came: i32 = std::str::from_utf8(record.payload.as_deref().unwrap_or_default())?.parse()?;
            ensure!(came == *version, "{}: {came} comes after {version}", record.key);
            *version += 1;
        }
        ensure!(next.values().sum::<i32>() == EVENTS, "{next:?}");
    }
    for relay in running {
        relay.stop().await;
    }
    Ok(())
}

/// Those that have a turn are frozen in the middle of a window.
#[tokio::test(flavor = "multi_thread")]
async fn outboxes_that_are_stuck_hold_no_other_up() -> Result<()> {
    let mut outboxes = outboxes(turns() + 1).await?;
    let healthy = outboxes.pop().expect("one more");
    let instance = Instance::new();
    let mut stuck = Vec::new();
    for outbox in &outboxes {
        let topic = outbox.create_topic("events", 1, &[]).await?;
        fill(outbox, &topic, 200).await?;
        let options = in_small_pieces(outbox);
        let point = format!("relay::before_produce/{}", options.owner);
        fault::arm(&point, "delay:3600000@1")?;
        stuck.push((point, Running::run(Relay::new(options).of(&instance))));
    }
    eventually("all turns are taken", || async {
        stuck.iter().all(|(point, _)| fault::hits(point) >= 1)
    })
    .await;
    let topic = healthy.create_topic("events", 1, &[]).await?;
    fill(&healthy, &topic, 200).await?;
    let relay = Running::run(Relay::new(in_small_pieces(&healthy)).of(&instance));
    let came = Reader::new(&healthy, &topic, 1)?.take(200).await;
    ensure!(came.len() == 200);
    relay.stop().await;
    for (point, relay) in stuck {
        relay.kill().await;
        fault::disarm(&point);
    }
    Ok(())
}
