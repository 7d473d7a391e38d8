use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sqlx::postgres::PgConnection;

use super::checker::{Checker, Reader};
use super::ring::{frozen_later, until_settled, until_unacknowledged};
use super::support::{Outbox, Running, append, eventually, run};
use super::writers::Writers;

/// Five leaves a second instead of one a minute.
pub async fn cycle_slots_quickly(outbox: &Outbox) -> Result<()> {
    let mut owner = outbox.connect("it_migrate").await?;
    run(
        &mut owner,
        "create or replace function saga.outbox_slot() returns smallint language sql volatile parallel safe
         return ((extract(epoch from clock_timestamp()) * 5)::bigint % 4)::smallint",
    )
    .await?;
    Ok(())
}

/// Stops the clock of the leaves.
async fn current_slot(outbox: &Outbox, slot: i16) -> Result<()> {
    let mut owner = outbox.connect("it_migrate").await?;
    run(
        &mut owner,
        &format!(
            "create or replace function saga.outbox_slot() returns smallint language sql volatile parallel safe
             return {slot}::smallint"
        ),
    )
    .await?;
    Ok(())
}

async fn bytes(connection: &mut PgConnection, leaf: &str) -> i64 {
    sqlx::query_scalar("select pg_relation_size($1::text::regclass)")
        .bind(format!("saga.{leaf}"))
        .fetch_one(connection)
        .await
        .unwrap()
}

async fn until_empty(outbox: &Outbox, leaf: &str) {
    eventually(&format!("{leaf} is emptied"), || async {
        let mut connection = outbox.superuser().await.unwrap();
        bytes(&mut connection, leaf).await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_are_emptied_under_load_and_nothing_is_lost() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 6, &[]).await?;
    cycle_slots_quickly(&outbox).await?;
    let mut options = outbox.relay("a");
    options.rotate_every = Duration::from_millis(20);
    let relay = Running::start(options);
    // A snapshot that somebody forgot, older than everything, in a session that has not touched the outbox.
    let mut forgotten = outbox.superuser().await?;
    run(&mut forgotten, "begin isolation level repeatable read").await?;
    run(&mut forgotten, "select 1").await?;

    let writers = Writers {
        tasks: 14,
        transactions: 200,
        keys: 50,
        seed: 11,
    };
    let expected = writers.write(&outbox, &topic).await?;
    let reader = Reader::new(&outbox, &topic, 6)?;
    let checked = Checker::default().finish(&reader, &expected).await?;
    ensure!(checked.duplicates == 0);
    let mut connection = outbox.superuser().await?;
    eventually("no leaf holds anything, in spite of the snapshot", || async {
        let mut connection = outbox.superuser().await.unwrap();
        let mut total = 0;
        for slot in 0..4 {
            total += bytes(&mut connection, &format!("outbox_{slot}")).await;
            total += bytes(&mut connection, &format!("relay_window_{slot}")).await;
        }
        total == 0
    })
    .await;
    let still_there: i64 = sqlx::query_scalar("select count(*) from saga.outbox")
        .fetch_one(&mut connection)
        .await?;
    ensure!(still_there == 0);
    run(&mut forgotten, "rollback").await?;
    relay.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_waits_for_the_transactions_that_wrote_to_it() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let mut options = outbox.relay("a");
    options.rotate_every = Duration::from_millis(20);
    let relay = Running::start(options);
    let mut observer = outbox.superuser().await?;
    let mut late = outbox.connect("it").await?;
    let reader = Reader::new(&outbox, &topic, 1)?;

    for (round, end) in ["commit", "prepare"].into_iter().enumerate() {
        current_slot(&outbox, 0).await?;
        run(&mut late, "begin").await?;
        append(&mut late, &topic, "late", "t", Some(b"late"), "{}").await?;
        let mut quick = outbox.connect("it").await?;
        append(&mut quick, &topic, "quick", "t", Some(b"quick"), "{}").await?;
        ensure!(reader.take(1).await[0].key == "quick");
        if end == "prepare" {
            run(&mut late, &format!("prepare transaction '{}'", outbox.name)).await?;
        }
        // Leaf 0 is neither the current one nor the next from now on, so it may be emptied. That rounds have
        // passed shows in leaf 3, which is written last and emptied all the same.
        current_slot(&outbox, 3).await?;
        append(&mut quick, &topic, "quick", "t", Some(b"quick"), "{}").await?;
        reader.take(1).await;
        current_slot(&outbox, 1).await?;
        eventually("leaf 3 is emptied", || async {
            let mut connection = outbox.superuser().await.unwrap();
            bytes(&mut connection, "outbox_3").await == 0
        })
        .await;
        ensure!(
            bytes(&mut observer, "outbox_0").await > 0,
            "emptied under a writer, round {round}"
        );
        if end == "prepare" {
            run(&mut late, &format!("commit prepared '{}'", outbox.name)).await?;
        } else {
            run(&mut late, "commit").await?;
        }
        ensure!(reader.take(1).await[0].key == "late", "round {round}");
        eventually("leaf 0 is emptied", || async {
            let mut connection = outbox.superuser().await.unwrap();
            bytes(&mut connection, "outbox_0").await == 0
        })
        .await;
    }
    relay.stop().await;
    Ok(())
}

/// The current leaf and the next one are somebody's who is about to write.
#[tokio::test(flavor = "multi_thread")]
async fn the_leaf_that_is_written_to_is_left_alone() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let mut options = outbox.relay("a");
    options.rotate_every = Duration::from_millis(10);
    let relay = Running::start(options);
    let mut writer = outbox.connect("it").await?;
    let reader = Reader::new(&outbox, &topic, 1)?;
    for slot in [3, 2, 1, 0] {
        current_slot(&outbox, slot).await?;
        append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
    }
    reader.take(4).await;
    // Slot 0 is current, 1 is next: 2 and 3 go.
    let mut observer = outbox.superuser().await?;
    eventually("old leaves are emptied", || async {
        let mut connection = outbox.superuser().await.unwrap();
        bytes(&mut connection, "outbox_2").await + bytes(&mut connection, "outbox_3").await == 0
    })
    .await;
    ensure!(bytes(&mut observer, "outbox_0").await > 0);
    ensure!(bytes(&mut observer, "outbox_1").await > 0);
    relay.stop().await;
    Ok(())
}

/// The session that looks at leaves, by what it has asked last.
async fn rotating_session(outbox: &Outbox) -> Option<i32> {
    let mut connection = outbox.superuser().await.unwrap();
    sqlx::query_scalar(
        "select pid from pg_stat_activity
          where datname = current_database() and usename = 'it_relay' and query like '%relay_window_3%'",
    )
    .fetch_optional(&mut connection)
    .await
    .unwrap()
}

/// A new one for each round would cost the server more than the round. What has ended, by whoever's hand, is no reason to stop.
#[tokio::test(flavor = "multi_thread")]
async fn leaves_are_looked_at_in_one_session_and_in_another_when_it_has_ended() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let mut options = outbox.relay("a");
    options.rotate_every = Duration::from_millis(20);
    let relay = Running::start(options);
    let mut writer = outbox.connect("it").await?;
    let mut observer = outbox.superuser().await?;
    let fence = "select fence from saga.relay";
    let mut sessions = Vec::new();
    for round in 0..3 {
        current_slot(&outbox, 2).await?;
        append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
        // What is in the current leaf stays, so that the outbox does not fall asleep.
        current_slot(&outbox, 3).await?;
        append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
        until_empty(&outbox, "outbox_2").await;
        let session = Cell::new(None);
        eventually("a session looks at leaves", || async {
            session.set(rotating_session(&outbox).await);
            session.get().is_some()
        })
        .await;
        let session = session.into_inner();
        let fence: i64 = sqlx::query_scalar(fence).fetch_one(&mut observer).await?;
        sessions.push((session, fence));
        if round == 1 {
            sqlx::query("select pg_terminate_backend($1)")
                .bind(session)
                .execute(&mut observer)
                .await?;
        }
    }
    ensure!(sessions[0] == sessions[1], "it is kept: {sessions:?}");
    ensure!(sessions[1].0 != sessions[2].0, "it has ended: {sessions:?}");
    ensure!(sessions[1].1 == sessions[2].1, "the lease is: {sessions:?}");
    relay.stop().await;
    Ok(())
}

/// Where a rotation waits for a reader, writers wait behind the rotation. So it gives up soon, and comes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_never_waits_longer_than_the_lock_timeout_of_the_rotation() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    current_slot(&outbox, 0).await?;
    let mut options = outbox.relay("a");
    options.rotate_every = Duration::from_millis(10);
    let relay = Running::start(options);
    let mut writer = outbox.connect("it").await?;
    write_late(&mut writer, &topic).await?;
    let mut reader = outbox.superuser().await?;
    run(&mut reader, "begin").await?;
    run(&mut reader, "select count(*) from saga.outbox_2").await?;

    let mut waits = Vec::new();
    for _ in 0..10 {
        // Only what is acknowledged is about to be emptied.
        until_settled(&outbox).await;
        until_rotation_waits(&outbox).await;
        let waited = write_late(&mut writer, &topic).await?;
        // A rotation that does not give up has 60 s, as any statement of the relay's.
        ensure!(waited < Duration::from_secs(10), "a writer waited for {waited:?}");
        waits.push(waited);
    }
    // A busy machine keeps some of them waiting, and not most.
    waits.sort();
    ensure!(waits[waits.len() / 2] < Duration::from_secs(1), "{waits:?}");
    let mut observer = outbox.superuser().await?;
    ensure!(
        bytes(&mut observer, "outbox_2").await > 0,
        "emptied under a reader"
    );
    run(&mut reader, "rollback").await?;
    until_empty(&outbox, "outbox_2").await;
    relay.stop().await;
    Ok(())
}

/// Into leaf 2, as an insert that began when this was the current one. Returns how long it took.
async fn write_late(writer: &mut PgConnection, topic: &str) -> Result<Duration> {
    let began = Instant::now();
    sqlx::query(
        "insert into saga.outbox (id, aggregatetype, aggregateid, type, payload, slot)
         values (gen_random_uuid(), $1, 'k', 't', '1', 2)",
    )
    .bind(topic)
    .execute(writer)
    .await?;
    Ok(began.elapsed())
}

async fn until_rotation_waits(outbox: &Outbox) {
    eventually("the rotation waits for leaf 2", || async {
        let mut connection = outbox.superuser().await.unwrap();
        sqlx::query_scalar::<_, bool>(
            "select exists (
                 select from pg_locks l join pg_database d on d.oid = l.database
                  where d.datname = current_database() and l.relation = 'saga.outbox_2'::regclass
                    and l.mode = 'AccessExclusiveLock' and not l.granted)",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap()
    })
    .await;
}

/// What was read and not acknowledged is nowhere but in the leaf and in the memory of a relay that may die.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_waits_for_the_broker_and_not_only_for_whoever_reads_it() -> Result<()> {
    let (stack, outbox, topic) = frozen_later(&[]).await?;
    current_slot(&outbox, 2).await?;
    let mut options = outbox.relay("a");
    options.rotate_every = Duration::from_millis(20);
    let relay = Running::start(options);
    let mut writer = outbox.connect("it").await?;
    append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
    until_settled(&outbox).await;

    current_slot(&outbox, 1).await?;
    stack.kafka().pause();
    append(&mut writer, &topic, "k", "t", Some(b"2"), "{}").await?;
    until_unacknowledged(&outbox, 1).await;
    // From now on leaves 1 and 2 are neither the current one nor the next.
    current_slot(&outbox, 3).await?;
    until_empty(&outbox, "outbox_2").await;
    // A round looks at leaf 1 before leaf 2. The one that emptied leaf 2 may have looked at leaf 1 when it was still the
    // current one; the next has not. What is rolled back is something to be emptied; a position of its own leaves the
    // sequence alone.
    run(
        &mut writer,
        "begin;
         insert into saga.outbox (id, aggregatetype, aggregateid, type, position, slot)
         values (gen_random_uuid(), 't', 'k', 't', 0, 2);
         rollback",
    )
    .await?;
    until_empty(&outbox, "outbox_2").await;
    let mut observer = outbox.superuser().await?;
    ensure!(
        bytes(&mut observer, "outbox_1").await > 0,
        "emptied before the broker had acknowledged it"
    );

    relay.kill().await;
    stack.kafka().resume();
    let next = Running::start(outbox.relay("b"));
    let expected = BTreeMap::from([("k".to_owned(), 2)]);
    let reader = Reader::new(&outbox, &topic, 2)?;
    Checker::default().finish(&reader, &expected).await?;
    until_settled(&outbox).await;
    next.stop().await;
    Ok(())
}
