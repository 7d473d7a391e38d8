use anyhow::{Result, ensure};
use local_stack::TestStack;
use outbox_relay::Phase;
use sqlx::AssertSqlSafe;

use super::checker::{Checker, Reader};
use super::support::{Outbox, Running, append, eventually, run, until_down};
use super::writers::Writers;

/// A server that waits to be promoted, and the promotion.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_refused_and_a_promoted_one_begins_an_epoch() -> Result<()> {
    let stack = tokio::task::spawn_blocking(TestStack::private).await??;
    let outbox = Outbox::on(stack.addresses()).await?;
    let topic = outbox.create_topic("events", 2, &[]).await?;
    let writers = Writers {
        tasks: 2,
        transactions: 50,
        keys: 10,
        seed: 5,
    };
    let relay = Running::start(outbox.relay("a"));
    writers.write(&outbox, &topic).await?;
    eventually("all is acknowledged", || async {
        relay.handle.oldest_unpublished().is_zero()
    })
    .await;
    relay.stop().await;
    let before = writers.write_more(&outbox, &topic).await?;
    tokio::task::block_in_place(|| stack.postgres().stop())?;
    std::fs::write(stack.dir().join("postgres/standby.signal"), "")?;
    tokio::task::block_in_place(|| stack.postgres().start())?;

    let relay = Running::start(outbox.relay("b"));
    until_down(&relay, "standby").await;
    let mut admin = outbox.admin().await?;
    let promoted: bool = sqlx::query_scalar("select pg_promote()")
        .fetch_one(&mut admin)
        .await?;
    ensure!(promoted);
    relay.until_publishing().await;
    let expected = writers.write_more(&outbox, &topic).await?;
    ensure!(expected.values().sum::<i64>() > before.values().sum::<i64>());
    let reader = Reader::new(&outbox, &topic, 2)?;
    Checker::default().finish(&reader, &expected).await?;
    let (epoch, ..) = outbox.acked().await?;
    ensure!(epoch == 2, "epoch is {epoch}");
    relay.stop().await;
    Ok(())
}

/// A dump keeps the rows' transaction ids, and the server that it is restored to counts from the start.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_restore_left_unpublished_goes_out_once_and_in_order() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let relay = Running::start(outbox.relay("a"));
    let mut writer = outbox.connect("it").await?;
    for payload in ["1", "2"] {
        append(&mut writer, &topic, "k", "t", Some(payload.as_bytes()), "{}").await?;
    }
    let reader = Reader::new(&outbox, &topic, 1)?;
    reader.take(2).await;
    eventually("both are acknowledged", || async {
        outbox.acked().await.unwrap().2 == 2
    })
    .await;
    relay.stop().await;

    // Two were published, one was not; all of them come from a server that was far ahead.
    append(&mut writer, &topic, "k", "t", Some(b"3"), "{}").await?;
    let mut superuser = outbox.superuser().await?;
    run(
        &mut superuser,
        "update saga.outbox set xid = (xid::text::bigint + 1000000)::text::xid8",
    )
    .await?;
    run(
        &mut superuser,
        "update saga.relay set system_identifier = 1,
                acked_snap = (select format('%s:%s:', max(xid), max(xid))::pg_snapshot from saga.outbox)",
    )
    .await?;
    // A dump holds the sequence apart from the rows.
    run(&mut superuser, "select setval('saga.outbox_position', 1)").await?;

    let relay = Running::start(outbox.relay_that_keeps_rows("b"));
    relay.until_publishing().await;
    append(&mut writer, &topic, "k", "t", Some(b"4"), "{}").await?;
    let records = reader.take(2).await;
    let payloads: Vec<_> = records.iter().map(|r| r.payload.clone().unwrap()).collect();
    ensure!(payloads == [b"3".to_vec(), b"4".to_vec()], "{payloads:?}");
    ensure!(records.iter().all(|record| record.position().epoch == 2));
    let marked: i64 = sqlx::query_scalar("select count(*) from saga.relay_window where recovery")
        .fetch_one(&mut superuser)
        .await?;
    ensure!(marked == 1);
    let highest: i64 = sqlx::query_scalar("select max(position) from saga.outbox")
        .fetch_one(&mut superuser)
        .await?;
    ensure!(highest == 4, "a position was drawn twice: {highest}");
    let from_the_future: i64 = sqlx::query_scalar(
        "select count(*) from saga.outbox where xid >= pg_snapshot_xmax(pg_current_snapshot())",
    )
    .fetch_one(&mut superuser)
    .await?;
    ensure!(from_the_future == 0, "it would go out once more");
    relay.stop().await;
    Ok(())
}

/// A promoted server, or one that was recovered to a point in time, has the ids of the one before: there is nothing to be
/// written to millions of rows, and no writer to wait for.
#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_writes_to_no_event_and_waits_for_no_writer() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let reader = Reader::new(&outbox, &topic, 1)?;
    let relay = Running::start(outbox.relay("a"));
    let (mut slow, mut writer) = (outbox.connect("it").await?, outbox.connect("it").await?);
    run(&mut slow, "begin").await?;
    append(&mut slow, &topic, "slow", "t", Some(b"0"), "{}").await?;
    append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
    reader.take(1).await;
    eventually("it is acknowledged", || async {
        outbox.acked().await.unwrap().2 == 2
    })
    .await;
    relay.stop().await;
    append(&mut writer, &topic, "k", "t", Some(b"2"), "{}").await?;
    let mut superuser = outbox.superuser().await?;
    run(&mut superuser, "update saga.relay set timeline = timeline + 7").await?;
    let rows =
        "select array_agg(xid::text || ctid::text order by position) from saga.outbox where position > 1";
    let before: Vec<String> = sqlx::query_scalar(rows).fetch_one(&mut superuser).await?;

    let relay = Running::start(outbox.relay_that_keeps_rows("b"));
    let left_over = reader.take(1).await.remove(0);
    ensure!(left_over.payload.as_deref() == Some(&b"2"[..]) && left_over.position().epoch == 2);
    run(&mut slow, "commit").await?;
    let slow = reader.take(1).await.remove(0);
    ensure!(slow.payload.as_deref() == Some(&b"0"[..]) && slow.position() > left_over.position());
    append(&mut writer, &topic, "k", "t", Some(b"3"), "{}").await?;
    ensure!(reader.take(1).await[0].payload.as_deref() == Some(&b"3"[..]));
    let after: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("{rows} and position < 4")))
        .fetch_one(&mut superuser)
        .await?;
    ensure!(before == after, "rows were written: {before:?}, {after:?}");
    relay.stop().await;
    Ok(())
}

/// Ids that only look as if they were this server's.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_another_history_are_not_taken_for_ours() -> Result<()> {
    let from_the_future = "update saga.outbox set xid = (xid::text::bigint + 1000000)::text::xid8";
    let acknowledged_later = "update saga.relay set acked_snap = '9000000:9000000:'";
    let drawn_twice = "select setval('saga.outbox_position', 1)";
    for foreign in [from_the_future, acknowledged_later, drawn_twice] {
        let outbox = Outbox::new().await?;
        let topic = outbox.create_topic("events", 1, &[]).await?;
        let relay = Running::start(outbox.relay("a"));
        relay.until_publishing().await;
        relay.stop().await;
        let mut writer = outbox.connect("it").await?;
        for payload in ["1", "2"] {
            append(&mut writer, &topic, "k", "t", Some(payload.as_bytes()), "{}").await?;
        }
        let mut superuser = outbox.superuser().await?;
        run(&mut superuser, "update saga.relay set timeline = timeline + 7").await?;
        run(&mut superuser, foreign).await?;
        let relay = Running::start(outbox.relay_that_keeps_rows("b"));
        relay.until_publishing().await;
        append(&mut writer, &topic, "k", "t", Some(b"3"), "{}").await?;
        let came = Reader::new(&outbox, &topic, 1)?.take(3).await;
        let payloads: Vec<_> = came
            .iter()
            .filter_map(|record| record.payload.as_deref())
            .collect();
        ensure!(payloads == [b"1", b"2", b"3"], "{foreign}: {payloads:?}");
        let highest: i64 = sqlx::query_scalar("select max(position) from saga.outbox")
            .fetch_one(&mut superuser)
            .await?;
        ensure!(highest == 3, "{foreign}: a position was drawn twice");
        relay.stop().await;
    }
    Ok(())
}

/// Millions of rows are not written within the time of any other statement, nor within that of a lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_may_take_its_time_and_keeps_the_lease() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let relay = Running::start(outbox.relay("a"));
    relay.until_publishing().await;
    relay.stop().await;
    let mut writer = outbox.connect("it").await?;
    for _ in 0..12 {
        append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
    }
    let mut superuser = outbox.superuser().await?;
    for slow in [
        "update saga.relay set system_identifier = 1",
        "create function take_time() returns trigger language plpgsql as
         $$ begin perform pg_sleep(0.5); return new; end $$",
        "create trigger take_time before update on saga.outbox for each row execute function take_time()",
    ] {
        run(&mut superuser, slow).await?;
    }
    let mut options = outbox.relay("b");
    options.statement_timeout = std::time::Duration::from_secs(4);
    let (relay, fence) = (Running::start(options), "select fence from saga.relay");
    eventually("it recovers", || async {
        let mut admin = outbox.admin().await.unwrap();
        sqlx::query_scalar(
            "select exists (select from pg_stat_activity
                             where datname = $1 and state = 'active' and query like '%relay_recover%'
                               and pid <> pg_backend_pid())",
        )
        .bind(&outbox.name)
        .fetch_one(&mut admin)
        .await
        .unwrap()
    })
    .await;
    let drawn: i64 = sqlx::query_scalar(fence).fetch_one(&mut superuser).await?;
    let heir = Running::start(outbox.relay("c"));
    relay.until_publishing().await;
    Reader::new(&outbox, &topic, 1)?.take(12).await;
    ensure!(outbox.acked().await?.0 == 2);
    let now: i64 = sqlx::query_scalar(fence).fetch_one(&mut superuser).await?;
    ensure!(now == drawn, "the lease went to somebody else");
    relay.stop().await;
    heir.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_has_one_name() -> Result<()> {
    let outbox = Outbox::new().await?;
    let relay = Running::start(outbox.relay("a"));
    relay.until_publishing().await;
    relay.stop().await;
    let mut options = outbox.relay("b");
    options.source = "another".parse()?;
    let relay = Running::start(options);
    until_down(&relay, "this outbox is known as 'it', not as 'another'").await;
    relay.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_the_tables_says_which_command_is_missing() -> Result<()> {
    let outbox = Outbox::new().await?;
    run(&mut outbox.superuser().await?, "drop table saga.relay cascade").await?;
    let relay = Running::start(outbox.relay("a"));
    until_down(&relay, "outbox-relay migrate").await;
    ensure!(matches!(*relay.handle.phase().borrow(), Phase::Failing { .. }));
    relay.stop().await;
    Ok(())
}
