use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use saga_core::partitioner::partition_for;

use crate::consuming::{READ_ON, made};
use crate::world::{PARTITIONS, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_stops_the_partition_and_says_so() -> Result<()> {
    let world = World::new().await?;
    let service = world.start("a").await?;
    world.send_at(&made("v", 1), 1, None)?;
    world.send_at(&made("v", 3), 3, Some(2))?;
    world.send_at(&made("v", 4), 4, Some(3))?;
    world.flush()?;
    service.until_down("lacks records up to").await?;
    service
        .until_metric(&world, "saga_partitions_stopped", "1")
        .await?;
    service.stop().await?;
    assert_eq!(world.seen("v").await?, [1]);
    assert_eq!(
        world
            .number("select max(next_offset) from saga.consumer_offset")
            .await?,
        1
    );
    Ok(())
}

/// As where retention is shorter than the outage. These come from a producer without positions, so that nothing else
/// tells.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_were_deleted_before_they_were_read_stop_their_partition() -> Result<()> {
    let world = World::new().await?;
    let partition = |key: &str| partition_for(key.as_bytes(), PARTITIONS);
    let elsewhere = (0..)
        .map(|n| format!("w{n}"))
        .find(|key| partition(key) != partition("v"))
        .context("some key is in another partition")?;
    let service = world.start("a").await?;
    for n in 0..2 {
        world.send(&made("v", n))?;
    }
    world.flush()?;
    world.until(READ_ON, 2).await?;
    service.stop().await?;
    for n in 2..6 {
        world.send(&made("v", n))?;
    }
    world.flush()?;
    world.delete_records("v", 4).await?;

    let service = world.start("a").await?;
    service.until_down("offset out of range").await?;
    service
        .until_metric(&world, "saga_partitions_stopped", "1")
        .await?;
    world.send(&made("v", 6))?;
    world.send(&made(&elsewhere, 0))?;
    world.flush()?;
    // What was applied of `v`, and what comes in another partition.
    world.until(READ_ON, 3).await?;
    service.stop().await?;
    assert_eq!(world.seen("v").await?, [0, 1]);
    assert_eq!(world.seen(&elsewhere).await?, [0]);
    Ok(())
}

/// A broker that is not replicated loses what it has acknowledged with its disk's last writes.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_the_broker_lost_after_it_had_acknowledged_them_are_missed() -> Result<()> {
    let stack = tokio::task::spawn_blocking(local_stack::TestStack::private).await??;
    let mut world = World::on(&stack.addresses()).await?;
    let service = world.start("a").await?;
    for n in 1..=3 {
        world.send_at(&made("v", n), u64::try_from(n)?, None)?;
        // In a batch of its own.
        world.flush()?;
    }
    world.until(READ_ON, 3).await?;
    service.stop().await?;
    for n in 4..=5 {
        world.send_at(&made("v", n), u64::try_from(n)?, Some(u64::try_from(n - 1)?))?;
        world.flush()?;
    }
    tokio::task::block_in_place(|| stack.kafka().stop())?;
    let partition = partition_for(b"v", PARTITIONS);
    let segment = format!("kafka/segments/{}visits-{partition}/{:020}.log", world.prefix, 0);
    cut_off(&stack.dir().join(segment), 3)?;
    tokio::task::block_in_place(|| stack.kafka().start())?;

    // The broker does not know any more where the other producer was.
    world.connect_anew()?;
    world.send_at(&made("v", 6), 6, Some(5))?;
    world.flush()?;
    let service = world.start("a").await?;
    service.until_down("lacks records up to").await?;
    service
        .until_metric(&world, "saga_partitions_stopped", "1")
        .await?;
    service.stop().await?;
    assert_eq!(world.seen("v").await?, [1, 2, 3]);
    Ok(())
}

/// Cuts the batches from an offset on off a segment of a broker that does not run. Each begins with its first offset and
/// with the length of what comes after the two.
fn cut_off(segment: &Path, from: u64) -> Result<()> {
    let bytes = fs::read(segment)?;
    let mut at = 0;
    while let Some((head, _)) = bytes.get(at..).and_then(<[u8]>::split_first_chunk::<12>) {
        let (offset, length) = head.split_at(8);
        if u64::from_be_bytes(offset.try_into()?) >= from {
            let file = fs::OpenOptions::new().write(true).open(segment)?;
            return Ok(file.set_len(u64::try_from(at)?)?);
        }
        at += 12 + usize::try_from(u32::from_be_bytes(length.try_into()?))?;
    }
    bail!("{} holds no offset from {from} on", segment.display())
}
