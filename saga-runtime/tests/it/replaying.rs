//! Replays of parked keys that meet each other, or an operator.

use anyhow::Result;

use crate::consuming::{READ_ON, made, made_so};
use crate::world::{WAITING, World};

/// A key with three messages behind it, whose cause was mended.
async fn parked(world: &World) -> Result<()> {
    let service = world.start("a").await?;
    world.send(&made_so("bad", 0, "needs-till"))?;
    world.send(&made("bad", 1))?;
    world.send(&made("bad", 2))?;
    world.flush()?;
    world.until(READ_ON, 3).await?;
    world
        .run("insert into till values ('till', 0) on conflict (id) do update set coins = 0")
        .await?;
    service.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_replay_a_key_decide_each_message_once() -> Result<()> {
    let world = World::new().await?;
    parked(&world).await?;
    let mut blocker = world.admin.begin().await?;
    sqlx::query("select from visit for update")
        .execute(&mut *blocker)
        .await?;
    world
        .run("update saga.parked_key set replay_requested = now()")
        .await?;
    let (a, b) = (world.start("a").await?, world.start("b").await?);
    // One holds the key and waits for the saga; the other has read the messages and waits for the key.
    world.until(WAITING, 2).await?;
    blocker.rollback().await?;
    world.until("select count(*) from saga.parked_key", 0).await?;
    a.stop().await?;
    b.stop().await?;
    assert_eq!(world.seen("bad").await?, [0, 1, 2]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_discarded_while_its_replay_begins_is_not_decided() -> Result<()> {
    let world = World::new().await?;
    parked(&world).await?;
    let mut asking = world.admin.begin().await?;
    sqlx::query("update saga.parked_key set replay_requested = now()")
        .execute(&mut *asking)
        .await?;
    let operator = {
        let admin = world.admin.clone();
        tokio::spawn(async move {
            let mut tx = admin.begin().await?;
            sqlx::query("select from saga.parked_key for update")
                .execute(&mut *tx)
                .await?;
            anyhow::Ok(tx)
        })
    };
    // First in the queue for the key, before anybody can see that a replay is asked for.
    world.until(WAITING, 1).await?;
    let service = world.start("a").await?;
    asking.commit().await?;
    let mut operator = operator.await??;
    world.until(WAITING, 1).await?;
    sqlx::query("delete from saga.parked_message where seq = (select min(seq) from saga.parked_message)")
        .execute(&mut *operator)
        .await?;
    operator.commit().await?;
    world.until("select count(*) from saga.parked_key", 0).await?;
    service.stop().await?;
    assert_eq!(world.seen("bad").await?, [1, 2]);
    Ok(())
}
