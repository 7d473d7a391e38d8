//! Calls that never give an answer, each in its own way.

use std::sync::atomic::Ordering;

use anyhow::Result;

use crate::consuming::made_so;
use crate::world::World;

const EXHAUSTED: &str = "select count(*) from visit where told = '{\"exhausted after 3\"}'";

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_panics_is_a_failed_call() -> Result<()> {
    let world = World::new().await?;
    world.greeter.panics.store(3, Ordering::SeqCst);
    let service = world.start("a").await?;
    world.send(&made_so("v", 1, "greet"))?;
    // The lease of a single call is longer than this test waits.
    world.until(EXHAUSTED, 1).await?;
    assert_eq!(
        world
            .number(
                "select count(*) from saga.effect where due_at is null and last_error like '%told to panic%'"
            )
            .await?,
        1
    );
    service.stop().await
}

/// The process dies in each of its calls, so nobody is left to say that they failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_kills_its_process_is_not_made_for_ever() -> Result<()> {
    let world = World::new().await?;
    world
        .run("insert into saga.pause (participant, what, reason) values ('kiosk', 'greet', 'test')")
        .await?;
    let service = world.start("a").await?;
    world.send(&made_so("v", 1, "greet"))?;
    world.until("select count(*) from saga.effect", 1).await?;
    // Three claims whose leases ended.
    world
        .run("update saga.effect set attempt = 3, claim_no = 3, first_called_at = now(), due_at = now()")
        .await?;
    world.run("delete from saga.pause").await?;
    world.until(EXHAUSTED, 1).await?;
    service.stop().await?;
    assert!(world.greeter.calls.lock().expect("not poisoned").is_empty());
    assert_eq!(
        world
            .number("select count(*) from saga.effect where due_at is null")
            .await?,
        1
    );
    Ok(())
}
