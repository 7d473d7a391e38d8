use anyhow::{Result, ensure};
use local_stack::{Addresses, TestStack};
use outbox_relay::{Phase, status};
use sqlx::ConnectOptions as _;

use super::checker::{Checker, Reader};
use super::support::{Outbox, Running, eventually, until_down};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_comes_back_costs_nothing_but_time() -> Result<()> {
    let (stack, outbox, topic) = private().await?;
    let relay = Running::start(outbox.relay("a"));
    WRITERS.write(&outbox, &topic).await?;
    tokio::task::block_in_place(|| stack.kafka().kill())?;
    // Writers do not notice.
    let expected = WRITERS.write_more(&outbox, &topic).await?;
    until_down(&relay, "broker is in trouble").await;
    ensure!(relay.handle.oldest_unpublished() > std::time::Duration::ZERO);
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
    ensure!(relay.handle.oldest_unpublished() > std::time::Duration::ZERO);
    tokio::task::block_in_place(|| stack.kafka().start())?;
    let reader = Reader::new(&outbox, &topic, 3)?;
    Checker::default().finish(&reader, &expected).await?;
    relay.stop().await;
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
