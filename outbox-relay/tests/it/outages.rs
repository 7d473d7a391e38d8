use anyhow::{Result, ensure};
use local_stack::TestStack;
use outbox_relay::Phase;

use super::checker::{Checker, Reader};
use super::support::{Outbox, Running, until_down};
use super::writers::Writers;

const WRITERS: Writers = Writers {
    tasks: 4,
    transactions: 150,
    keys: 20,
    seed: 7,
};

/// Servers that may be killed, and an outbox on them.
async fn private() -> Result<(TestStack, Outbox, String)> {
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
