use anyhow::Result;
use saga_core::envelope;

use crate::kiosk::Made;
use crate::world::{PATIENCE, WAITING, World};

pub(crate) fn made(id: &str, n: i32) -> Made {
    made_so(id, n, "")
}

pub(crate) fn made_so(id: &str, n: i32, what: &str) -> Made {
    Made {
        id: id.into(),
        n,
        what: what.into(),
    }
}

const NOTED: &str = "select count(*) from saga.outbox where type = 'visit.noted'";
const VISITED: &str = "select coalesce(sum(cardinality(seen)), 0)::int8 from visit";
/// Records that the consumer has read on over.
pub(crate) const READ_ON: &str =
    "select coalesce(sum(next_offset), 0)::int8 from saga.consumer_offset where next_offset > 0";

#[tokio::test(flavor = "multi_thread")]
async fn each_event_changes_state_once_and_in_order() -> Result<()> {
    let world = World::new().await?;
    let service = world.start("a").await?;
    for n in 0..300 {
        let id = world.send(&made(&format!("v{}", n % 7), n))?;
        if n % 3 == 0 {
            // The same message again: the inbox knows it.
            world.send_as(id, &made(&format!("v{}", n % 7), n), None, None)?;
        }
    }
    world.flush()?;
    world.until(NOTED, 300).await?;
    service.stop().await?;
    for v in 0..7 {
        let wanted: Vec<i32> = (0..300).filter(|n| n % 7 == v).collect();
        assert_eq!(world.seen(&format!("v{v}")).await?, wanted);
    }
    assert_eq!(world.number(READ_ON).await?, 400);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_was_applied_passes() -> Result<()> {
    let world = World::new().await?;
    let service = world.start("a").await?;
    // A relay that wakes up late sends 1, 2, 3 again.
    for (position, previous) in [
        (1, None),
        (2, Some(1)),
        (3, Some(2)),
        (1, None),
        (2, Some(1)),
        (3, Some(2)),
        (4, Some(3)),
    ] {
        world.send_at(&made("v", i32::try_from(position)?), position, previous)?;
    }
    world.flush()?;
    world.until(READ_ON, 7).await?;
    service.stop().await?;
    assert_eq!(world.seen("v").await?, [1, 2, 3, 4]);
    assert_eq!(world.number(NOTED).await?, 4);
    assert_eq!(world.number("select count(*) from saga.inbox").await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decided_parks_its_key_and_others_flow() -> Result<()> {
    let world = World::new().await?;
    let service = world.start("a").await?;
    for n in 0..10 {
        world.send(&made("good", n))?;
        let what = if n == 3 { "needs-till" } else { "" };
        world.send(&made_so("bad", n, what))?;
    }
    world.flush()?;
    world.until(READ_ON, 20).await?;
    assert_eq!(world.seen("good").await?, (0..10).collect::<Vec<_>>());
    assert_eq!(world.seen("bad").await?, [0, 1, 2]);
    assert_eq!(
        world
            .number("select count(*) from saga.parked_message where key = 'bad'")
            .await?,
        7
    );
    assert_eq!(
        world
            .number("select count(*) from saga.parked_message where reason is not null")
            .await?,
        1
    );
    assert_eq!(
        world
            .number("select count(*) from saga.outbox where aggregatetype like '%visits-dlt'")
            .await?,
        1
    );

    // Asked too early, it stays; after the cause was mended, everything comes in its order.
    world
        .run("update saga.parked_key set replay_requested = now()")
        .await?;
    world
        .until(
            "select count(*) from saga.parked_key where replay_requested is null and reason like 'replayed%'",
            1,
        )
        .await?;
    assert_eq!(world.seen("bad").await?, [0, 1, 2]);
    world
        .run("insert into till values ('till', 0) on conflict (id) do update set coins = 0")
        .await?;
    world
        .run("update saga.parked_key set replay_requested = now()")
        .await?;
    world.until("select count(*) from saga.parked_key", 0).await?;
    assert_eq!(world.seen("bad").await?, (0..10).collect::<Vec<_>>());
    world.send(&made("bad", 10))?;
    world.until(VISITED, 21).await?;
    service.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_rings_the_relay() -> Result<()> {
    let world = World::new().await?;
    let relay = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    let door = relay.local_addr()?.to_string();
    let service = world.start_with("a", &[("KIOSK_RELAY_DOORBELLS", &door)]).await?;
    world.send(&made("v", 0))?;
    world.flush()?;
    let mut name = [0; 64];
    let length = tokio::time::timeout(PATIENCE, relay.recv(&mut name)).await??;
    assert_eq!(&name[..length], b"kiosk");
    assert_eq!(world.number(NOTED).await?, 1, "after the commit");
    service.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_taken_for_another_joins_again() -> Result<()> {
    let world = World::new().await?;
    let service = world.start("a").await?;
    world.send(&made("v", 0))?;
    world.flush()?;
    world.until(NOTED, 1).await?;
    // Somebody of the same name takes its place, and is thrown out in turn.
    world.pose_as("a").await?;
    service
        .until_metric(&world, "saga_consumer_rejoins_total", "1")
        .await?;
    for n in 1..20 {
        world.send(&made("v", n))?;
    }
    world.flush()?;
    world.until(NOTED, 20).await?;
    service.stop().await?;
    assert_eq!(world.seen("v").await?, (0..20).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_of_every_kind_parks_and_nothing_else_stops() -> Result<()> {
    let world = World::new().await?;
    let service = world.start("a").await?;
    let header = |name: &'static str, value: &str| (name, value.to_owned());
    let proper = |ty: &str, schema: &str| {
        vec![
            header(envelope::CE_ID, &uuid::Uuid::new_v4().to_string()),
            header(envelope::CE_SOURCE, "/elsewhere"),
            header(envelope::CE_TYPE, ty),
            header(envelope::CE_SPECVERSION, "1.0"),
            header(envelope::CE_DATASCHEMA, schema),
        ]
    };
    world.send_raw("no-headers", b"{}", &[])?;
    world.send_raw(
        "garbage",
        &[0xff, 0x00, 0xfe],
        &proper("visit.made", "visit.made/1"),
    )?;
    world.send_raw("version", b"{}", &proper("visit.made", "visit.made/9"))?;
    world.send_raw(
        "other-key",
        br#"{"id":"v","n":1}"#,
        &proper("visit.made", "visit.made/1"),
    )?;
    world.send_raw(
        "unknown-type",
        b"whatever",
        &proper("visit.dreamt", "visit.dreamt/1"),
    )?;
    world.send(&made_so("panics", 0, "panic"))?;
    world.send(&made_so("impossible", 0, "impossible"))?;
    world.send(&made_so("cannot-be-saved", 0, "nul"))?;
    for n in 0..20 {
        world.send(&made("good", n))?;
    }
    world.flush()?;
    world.until(READ_ON, 28).await?;
    service.stop().await?;
    assert_eq!(world.seen("good").await?, (0..20).collect::<Vec<_>>());
    let parked: Vec<(String, String)> =
        sqlx::query_as("select key, reason from saga.parked_key order by key")
            .fetch_all(&world.admin)
            .await?;
    let keys: Vec<&str> = parked.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "cannot-be-saved",
            "garbage",
            "impossible",
            "no-headers",
            "other-key",
            "panics",
            "version"
        ]
    );
    let reason = |key: &str| {
        parked
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, reason)| reason.clone())
            .unwrap_or_default()
    };
    assert!(
        reason("no-headers").contains("ce_specversion is missing"),
        "{}",
        reason("no-headers")
    );
    assert!(reason("version").contains("version 9"), "{}", reason("version"));
    assert!(reason("panics").contains("told to panic"), "{}", reason("panics"));
    assert!(
        reason("impossible").contains("told to be impossible"),
        "{}",
        reason("impossible")
    );
    assert_eq!(
        world
            .number("select count(*) from saga.outbox where aggregatetype like '%-dlt'")
            .await?,
        7
    );
    Ok(())
}

/// Two processes come and go under load: partitions move, and each event is still applied once, in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_under_load_loses_and_doubles_nothing() -> Result<()> {
    let world = World::new().await?;
    let first = world.start("a").await?;
    let mut second = None;
    for n in 0..6000_i32 {
        world.send_at(&made(&format!("v{}", n % 40), n), u64::try_from(n)? + 1, None)?;
        match n {
            1500 => second = Some(world.start("b").await?),
            4000 => {
                if let Some(second) = second.take() {
                    second.stop().await?;
                }
            }
            5000 => second = Some(world.start("c").await?),
            _ => {}
        }
    }
    world.flush()?;
    world.until(VISITED, 6000).await?;
    first.stop().await?;
    if let Some(second) = second {
        second.stop().await?;
    }
    for v in 0..40 {
        let wanted: Vec<i32> = (0..6000).filter(|n| n % 40 == v).collect();
        assert_eq!(world.seen(&format!("v{v}")).await?, wanted, "v{v}");
    }
    assert_eq!(world.number(NOTED).await?, 6000);
    assert_eq!(
        world.number("select count(distinct id) from saga.outbox").await?,
        6000
    );
    Ok(())
}

/// librdkafka remembers that a partition is paused when it goes and when it comes back. With back-pressure, a partition
/// that left at the wrong moment would never be read again.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_was_paused_when_it_left_is_read_when_it_comes_back() -> Result<()> {
    let world = World::new().await?;
    world
        .run("insert into saga.pause (participant, what, reason) values ('kiosk', '*', 'test')")
        .await?;
    let first = world.start("a").await?;
    world.members(1).await?;
    let second = world.start("b").await?;
    world.members(2).await?;
    world.run("delete from saga.pause").await?;
    let send = |numbers: std::ops::Range<i32>| {
        for n in numbers {
            world.send_at(&made(&format!("v{}", n % 40), n), u64::try_from(n)? + 1, None)?;
        }
        world.flush()
    };
    send(0..80)?;
    world.until(VISITED, 80).await?;
    second.stop().await?;
    world.members(1).await?;
    send(80..160)?;
    world.until(VISITED, 160).await?;
    first.stop().await
}

/// What comes faster than it is applied waits in Kafka, not in memory, and everybody can see that it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_keep_up_is_not_fed_on() -> Result<()> {
    held_back(("KIOSK_CONSUMER_WAITING_MAX", "20"), 400, "").await
}

/// Few records may be many bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_not_fed_on_by_the_megabyte_either() -> Result<()> {
    let long = "x".repeat(100_000);
    held_back(("KIOSK_CONSUMER_WAITING_MAX_BYTES", "1000000"), 40, &long).await
}

/// A worker that stands still gets more records, each as long as `text`, than `limit` lets wait.
async fn held_back(limit: (&'static str, &'static str), records: i32, text: &str) -> Result<()> {
    let world = World::new().await?;
    world.run("insert into visit (id) values ('v')").await?;
    let mut blocker = world.admin.begin().await?;
    sqlx::query("select from visit for update")
        .execute(&mut *blocker)
        .await?;
    let service = world
        .start_with("a", &[limit, ("KIOSK_CONSUMER_WORKERS", "1")])
        .await?;
    for n in 0..records {
        world.send_at(&made_so("v", n, text), u64::try_from(n)? + 1, None)?;
    }
    world.flush()?;
    // All that this worker reads.
    service.until_metric(&world, "saga_partitions_held", "4").await?;
    blocker.rollback().await?;
    world.until(VISITED, records.into()).await?;
    service.until_metric(&world, "saga_partitions_held", "0").await?;
    service.stop().await
}

/// Somebody else moves the offset behind our back: the compare-and-set finds out, and we go on from there.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_the_partition_writes_nothing() -> Result<()> {
    let world = World::new().await?;
    let service = world.start("a").await?;
    world.send_at(&made("v", 1), 1, None)?;
    world.flush()?;
    world.until(VISITED, 1).await?;
    // As another owner would, that has applied offsets 1 and 2.
    world
        .run("update saga.consumer_offset set next_offset = 3 where next_offset = 1")
        .await?;
    world
        .run("update saga.consumer_source set last = '00000001-0000000000000001-0000000000000003'")
        .await?;
    for n in 2..=5 {
        world.send_at(&made("v", n), u64::try_from(n)?, None)?;
    }
    world.flush()?;
    world.until(VISITED, 3).await?;
    service.stop().await?;
    assert_eq!(world.seen("v").await?, [1, 4, 5]);
    Ok(())
}

/// A row goes after `load` has found it and before it has locked it. What is decided then must not be lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_saga_that_is_pruned_while_it_is_being_locked_is_kept() -> Result<()> {
    let world = World::new().await?;
    let service = world.start("a").await?;
    world.run("insert into visit values ('v', '{1}')").await?;
    let mut pruner = world.admin.begin().await?;
    sqlx::query("select from visit for update")
        .execute(&mut *pruner)
        .await?;
    world.send(&made("v", 2))?;
    world.flush()?;
    world.until(WAITING, 1).await?;
    sqlx::query("delete from visit").execute(&mut *pruner).await?;
    pruner.commit().await?;
    world.until(READ_ON, 1).await?;
    service.stop().await?;
    assert_eq!(world.seen("v").await?, [2]);
    assert_eq!(world.number(NOTED).await?, 1);
    Ok(())
}
