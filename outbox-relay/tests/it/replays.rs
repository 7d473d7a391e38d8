use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};
use outbox_relay::Options;

use super::checker::{Checker, Reader};
use super::parked::{append_all, crash_at, ids, request_replay, until_parked};
use super::support::{Outbox, Running, append, eventually, run};

/// A relay that parks topics at once and tries them again often, a few events at a time.
fn impatient(outbox: &Outbox, owner: &str, replay_rows: u32) -> Options {
    // Windows are counted here.
    let mut options = outbox.relay_that_keeps_rows(owner);
    options.park_topic_after = Duration::ZERO;
    options.retry_parked_topic = Duration::from_millis(100);
    options.replay_rows = replay_rows;
    options
}

async fn until_tried_again(outbox: &Outbox) {
    let tried = async || {
        let mut connection = outbox.superuser().await.unwrap();
        sqlx::query_scalar::<_, Option<DateTime<Utc>>>("select max(tried_at) from saga.outbox_parked_key")
            .fetch_one(&mut connection)
            .await
            .unwrap()
    };
    let before = tried().await;
    eventually("it is tried again", async || tried().await > before).await;
}

/// How many windows sent parked events again.
async fn replays(outbox: &Outbox) -> Result<i64> {
    let count = sqlx::query_scalar("select count(*) from saga.relay_window where replay");
    Ok(count.fetch_one(&mut outbox.superuser().await?).await?)
}

/// There may be millions of them.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_topic_that_is_still_missing_are_left_alone() -> Result<()> {
    let outbox = Outbox::new().await?;
    let relay = Running::start(impatient(&outbox, "a", 10_000));
    append_all(&outbox, &outbox.topic("late"), &[("a", 10), ("b", 10), ("a", 10)]).await?;
    until_parked(&outbox, &[("*", 3)]).await;
    let rows = async || {
        let mut connection = outbox.superuser().await.unwrap();
        sqlx::query_scalar::<_, Vec<String>>(
            "select array_agg(xmin::text || ctid::text order by position) from saga.outbox_parked_event",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap()
    };
    let before = rows().await;
    for _ in 0..3 {
        until_tried_again(&outbox).await;
    }
    request_replay(&outbox).await?;
    until_tried_again(&outbox).await;
    ensure!(rows().await == before, "they were written to");
    ensure!(replays(&outbox).await? == 0, "a window was opened for nothing");
    relay.stop().await;
    Ok(())
}

/// Whatever comes later of its keys, and wherever the relay dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_topic_goes_out_in_pieces_and_in_order() -> Result<()> {
    let outbox = Outbox::new().await?;
    let late = outbox.topic("late");
    let mut writer = outbox.connect("it").await?;
    let mut versions: BTreeMap<String, i64> = BTreeMap::new();
    let mut write = async |count: usize| -> Result<BTreeMap<String, i64>> {
        for n in 0..count {
            let key = format!("key-{}", n % 3);
            let version = versions.entry(key.clone()).or_default();
            *version += 1;
            let payload = version.to_string();
            append(&mut writer, &late, &key, "t", Some(payload.as_bytes()), "{}").await?;
        }
        Ok(versions.clone())
    };
    let relay = Running::start(impatient(&outbox, "a", 3));
    write(10).await?;
    until_parked(&outbox, &[("*", 10)]).await;
    relay.stop().await;
    let topic = outbox.create_topic("late", 2, &[]).await?;
    crash_at("relay::before_end_of_replay", impatient(&outbox, "crashes", 3)).await?;
    until_parked(&outbox, &[("*", 10)]).await;
    write(5).await?;
    let relay = Running::start(impatient(&outbox, "b", 3));
    until_parked(&outbox, &[]).await;
    let opened = replays(&outbox).await?;
    ensure!(opened >= 5, "15 events went out in {opened} windows");
    let expected = write(3).await?;
    let reader = Reader::new(&outbox, &topic, 2)?;
    Checker::default().finish(&reader, &expected).await?;
    relay.stop().await;
    Ok(())
}

/// A relay of before gave all of them to one window, which is found and ended in pieces.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_larger_than_one_may_be_is_put_back_in_pieces() -> Result<()> {
    let outbox = Outbox::new().await?;
    let late = outbox.topic("late");
    let relay = Running::start(impatient(&outbox, "a", 10_000));
    let sizes = [("a", 10), ("b", 20_000), ("a", 10), ("b", 10), ("a", 10)];
    let sent = append_all(&outbox, &late, &sizes).await?;
    until_parked(&outbox, &[("*", 5)]).await;
    relay.stop().await;
    let stamp = async || -> Result<()> {
        run(
            &mut outbox.superuser().await?,
            "with opened as (
                 insert into saga.relay_window (source, win, epoch, fence, snap_a, snap_b, replay)
                 select source, (extract(epoch from clock_timestamp()) * 1e6)::bigint,
                        epoch, fence, acked_snap, acked_snap, true from saga.relay
                 returning win
             ), marked as (update saga.outbox_parked_key set replay_win = opened.win from opened where whole)
             update saga.outbox_parked_event e set replay_win = opened.win, replay_position = place
               from opened, (select position, row_number() over (order by position) as place
                               from saga.outbox_parked_event) as placed
              where e.position = placed.position",
        )
        .await?;
        Ok(())
    };
    let waits = async || -> Result<(i64, i64)> {
        let counts = sqlx::query_as(
            "select count(*) filter (where replay_win is not null), count(*) from saga.outbox_parked_event",
        );
        Ok(counts.fetch_one(&mut outbox.superuser().await?).await?)
    };

    stamp().await?;
    let mut options = impatient(&outbox, "b", 2);
    options.retry_parked_topic = Duration::from_secs(3600);
    let relay = Running::start(options.clone());
    eventually("all of it is put back", async || waits().await.unwrap() == (0, 5)).await;
    relay.stop().await;

    stamp().await?;
    let topic = outbox
        .create_topic("late", 1, &[("max.message.bytes", "10000")])
        .await?;
    let relay = Running::start(options);
    until_parked(&outbox, &[("b", 2)]).await;
    ensure!(waits().await? == (0, 2));
    let reader = Reader::new(&outbox, &topic, 1)?;
    assert_eq!(ids(&reader.take(3).await), [sent[0], sent[2], sent[4]]);
    relay.stop().await;
    Ok(())
}

/// Nothing of it is left that a topic would be needed for.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_of_which_everything_is_discarded_is_free() -> Result<()> {
    let outbox = Outbox::new().await?;
    let relay = Running::start(impatient(&outbox, "a", 10_000));
    append_all(&outbox, &outbox.topic("late"), &[("a", 10), ("b", 10)]).await?;
    until_parked(&outbox, &[("*", 2)]).await;
    let mut ops = outbox.connect("it_ops").await?;
    run(&mut ops, "delete from saga.outbox_parked_event").await?;
    until_parked(&outbox, &[]).await;
    relay.stop().await;
    Ok(())
}
