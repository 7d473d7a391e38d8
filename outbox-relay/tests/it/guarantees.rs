use anyhow::{Result, ensure};
use outbox_relay::Options;
use quadrille_process::fault;

use super::checker::{Checker, Reader};
use super::parked::{append_all, ids};
use super::support::{Outbox, Running, append, eventually, run};
use super::writers::Writers;

const WRITERS: Writers = Writers {
    tasks: 12,
    transactions: 120,
    keys: 40,
    seed: 1,
};

const TRICKLE: Writers = Writers {
    tasks: 1,
    transactions: 5,
    ..WRITERS
};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_reordered_whoever_writes() -> Result<()> {
    everything_arrives(|_| {}).await
}

/// Windows are read through the position index as soon as they have four rows, and a handful of events
/// may be in flight.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_reordered_in_small_pieces() -> Result<()> {
    everything_arrives(|options| {
        options.chunk_rows = 3;
        options.in_flight_events = 5;
    })
    .await
}

/// A window of which a statement does not see the beginning is read from the front of the outbox, and in several steps from
/// one of its rows to the next.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_reordered_in_short_steps() -> Result<()> {
    everything_arrives(|options| {
        options.chunk_rows = 3;
        options.chunk_stride = 2;
    })
    .await
}

/// Each event is larger than its share of what is read at once.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_reordered_of_large_events() -> Result<()> {
    everything_arrives(|options| {
        options.chunk_rows = 3;
        options.chunk_bytes = 3;
    })
    .await
}

/// What comes before the first large event of a window is read in another way than what comes behind it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_reordered_between_large_events() -> Result<()> {
    for first_large in [0, 1, 4, 5, 6, 29] {
        let outbox = Outbox::new().await?;
        let topic = outbox.create_topic("events", 1, &[]).await?;
        let mut sizes = [("k", 100); 30];
        for later in (first_large..sizes.len()).step_by(7) {
            sizes[later].1 = 3_000;
        }
        let sent = append_all(&outbox, &topic, &sizes).await?;
        let mut options = outbox.relay("a");
        options.chunk_rows = 5;
        options.chunk_bytes = 5_000;
        let relay = Running::start(options);
        let reader = Reader::new(&outbox, &topic, 1)?;
        let came = reader.take(sizes.len()).await;
        ensure!(ids(&came) == sent, "the first large one at {first_large}");
        let came = came.iter().map(|record| record.payload.as_ref().map(Vec::len));
        ensure!(came.eq(sizes.map(|(_, size)| Some(size))));
        relay.stop().await;
    }
    Ok(())
}

/// What was acknowledged is known from where it was resumed, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_resumed_at_its_end_counts_with_all_its_positions() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let options = outbox.relay("crashes");
    let point = format!("relay::after_ack/{}", options.owner);
    fault::arm(&point, "delay:3600000@1")?;
    let mut writer = outbox.connect("it").await?;
    append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
    let relay = Running::start(options);
    eventually("all of it is acknowledged", || async { fault::hits(&point) >= 1 }).await;
    relay.kill().await;
    fault::disarm(&point);
    let mut superuser = outbox.superuser().await?;
    run(
        &mut superuser,
        "update saga.relay set expires_at = '-infinity', partial_win = (select max(win) from saga.relay_window),
                partial_position = (select max(position) from saga.outbox)",
    )
    .await?;
    ensure!(outbox.acked().await?.2 == 0);
    let relay = Running::start(outbox.relay("b"));
    eventually("the window is acknowledged", || async {
        outbox.acked().await.unwrap().1 > 0
    })
    .await;
    let highest = outbox.acked().await?.2;
    ensure!(
        highest == 1,
        "{highest} is the highest of a window with position 1"
    );
    relay.stop().await;
    Ok(())
}

/// A sequence that somebody has moved on leaves millions of positions to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_big_window_may_have_gaps() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let mut superuser = outbox.superuser().await?;
    let mut versions = 0;
    for gap in [3_000_000_i64, 999_990, 1_000_000, 7] {
        let appended = sqlx::query(
            "insert into saga.outbox (id, aggregatetype, aggregateid, type, payload)
             select gen_random_uuid(), $1, 'k', 't', convert_to(($2 + i)::text, 'UTF8')
               from generate_series(1, 10) i",
        )
        .bind(&topic)
        .bind(versions);
        appended.execute(&mut superuser).await?;
        versions += 10;
        let moved =
            sqlx::query("select setval('saga.outbox_position', last_value + $1) from saga.outbox_position");
        moved.bind(gap).execute(&mut superuser).await?;
    }
    let mut options = outbox.relay("a");
    options.chunk_rows = 4;
    let relay = Running::start(options);
    let reader = Reader::new(&outbox, &topic, 1)?;
    let expected = [("k".to_owned(), versions)].into();
    Checker::default().finish(&reader, &expected).await?;
    relay.stop().await;
    Ok(())
}

async fn everything_arrives(tune: impl FnOnce(&mut Options)) -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 6, &[]).await?;
    let mut options = outbox.relay("a");
    tune(&mut options);
    let relay = Running::start(options);
    let expected = WRITERS.write(&outbox, &topic).await?;
    let reader = Reader::new(&outbox, &topic, 6)?;
    let checked = Checker::default().finish(&reader, &expected).await?;
    ensure!(
        checked.duplicates == 0,
        "{} duplicates without a crash",
        checked.duplicates
    );
    relay.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_anything_of_a_window_is_sent() -> Result<()> {
    crashes_at("relay::after_window_commit", |_| {}).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_sending_and_acknowledgement() -> Result<()> {
    crashes_at("relay::after_produce_before_ack", |_| {})
        .await
        .map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_acknowledgement_and_its_record() -> Result<()> {
    crashes_at("relay::after_ack_before_persist", |_| {})
        .await
        .map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_a_leaf_is_emptied() -> Result<()> {
    crashes_at("relay::before_rotate", |_| {}).await.map(drop)
}

/// One relay after the other hangs at the point and is killed there, while all writers write.
pub async fn crashes_at(point: &str, tune: impl Fn(&mut Options)) -> Result<Checker> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 6, &[]).await?;
    super::rotation::cycle_slots_quickly(&outbox).await?;
    WRITERS.prepare(&outbox).await?;
    let writing = tokio::spawn({
        let (outbox, topic) = (outbox.clone(), topic.clone());
        async move { WRITERS.write_more(&outbox, &topic).await }
    });
    for life in 1..=6 {
        let mut options = outbox.relay(&format!("life{life}"));
        options.lease = std::time::Duration::from_millis(600);
        tune(&mut options);
        options.chunk_rows = if life % 2 == 0 { 10 } else { 5000 };
        options.transaction_rows = options.chunk_rows;
        let armed = format!("{point}/{}", options.owner);
        fault::arm(&armed, &format!("delay:3600000@{life}"))?;
        let relay = Running::start(options);
        eventually(&format!("{armed} is reached"), || async {
            if fault::hits(&armed) >= life {
                return true;
            }
            // On a busy machine all is written before the third life has begun. It needs windows, and no more than that.
            if writing.is_finished() {
                TRICKLE.write_more(&outbox, &topic).await.unwrap();
            }
            false
        })
        .await;
        relay.kill().await;
        fault::disarm(&armed);
    }
    writing.await??;
    let expected = TRICKLE.write_more(&outbox, &topic).await?;
    let mut options = outbox.relay("last");
    tune(&mut options);
    let relay = Running::start(options);
    let reader = Reader::new(&outbox, &topic, 6)?;
    let checked = Checker::default().finish(&reader, &expected).await?;
    relay.stop().await;
    Ok(checked)
}
