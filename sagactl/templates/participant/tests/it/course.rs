use std::ops::Deref;

use anyhow::Result;
use newcomer::events::{Cancelled, Requested};
use newcomer::participant::In;
use newcomer::store::MIGRATOR;
use newcomer::{Config, Running};
use quadrille_process::Failure;
use serde_json::json;
use service_testing::{World, until};
use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;
use uuid::Uuid;

use crate::new_saga;

/// A world with the service at work in it. The relay is missing: what the service tells is looked up in its outbox.
struct Place {
    world: World,
    /// A test that fails ends the service as well.
    stop: DropGuard,
    ended: JoinHandle<Result<(), Failure>>,
}

impl Place {
    async fn open() -> Result<Self> {
        let world = World::new("newcomer", &MIGRATOR, &saga_core::input::topics::<In>()).await?;
        let process = world.process()?;
        let config = world.env(&[("UNITS_MAX", "3")]).build(Config::read)?;
        let running = Running::start(config, &process).await.map_err(failed)?;
        Ok(Self {
            world,
            stop: process.shutdown.drop_guard(),
            ended: tokio::spawn(running.ended()),
        })
    }

    async fn close(self) -> Result<()> {
        drop(self.stop);
        self.ended.await?.map_err(failed)
    }
}

impl Deref for Place {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

fn failed(failure: Failure) -> anyhow::Error {
    anyhow::anyhow!("{failure}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_reserved_and_released() -> Result<()> {
    let place = Place::open().await?;
    let (taken, refused) = (new_saga(), new_saga());
    for (saga_id, units) in [(taken, 2), (refused, 4)] {
        place.send(&Requested { saga_id, units }).await?;
    }
    let told = place.until_published(taken, &["newcomer.reserved"]).await?;
    assert_eq!(told, [json!({"saga_id": taken, "units": 2})]);
    place.until_published(refused, &["newcomer.refused"]).await?;
    place.send(&Cancelled { saga_id: taken }).await?;
    place
        .until_published(taken, &["newcomer.reserved", "newcomer.released"])
        .await?;
    place.close().await
}

/// The same record twice, the same event under another id, and the end before the beginning.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_twice_or_too_early_counts_once() -> Result<()> {
    let place = Place::open().await?;
    let (twice, early) = (new_saga(), new_saga());
    let asked = |saga_id| Requested { saga_id, units: 1 };
    let id = Uuid::new_v4();
    place.send_as(id, &asked(twice)).await?;
    place.send_as(id, &asked(twice)).await?;
    place.send(&asked(twice)).await?;
    place.send(&Cancelled { saga_id: early }).await?;
    place.send(&asked(early)).await?;
    until("all records are read", || async {
        let read: Option<i64> = sqlx::query_scalar(
            "select sum(next_offset)::int8 from saga.consumer_offset where next_offset > 0",
        )
        .fetch_one(&place.pool)
        .await?;
        Ok(read == Some(5))
    })
    .await?;
    place.until_published(twice, &["newcomer.reserved"]).await?;
    place.until_published(early, &[]).await?;
    place.close().await
}
