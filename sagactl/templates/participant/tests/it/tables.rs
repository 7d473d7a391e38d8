use anyhow::Result;
use newcomer::participant::{Closing, In, Newcomer, Reservation};
use newcomer::store::{self, MIGRATOR, Tables};
use saga_runtime::Store as _;
use saga_runtime::conformance::{self, Samples};
use saga_runtime::store::Saved;
use service_testing::World;

use crate::new_saga;

async fn world() -> Result<World> {
    World::new("newcomer", &MIGRATOR, &saga_core::input::topics::<In>()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_fits_the_tables_and_the_rights_of_its_role() -> Result<()> {
    let world = world().await?;
    service_testing::prepare(&world.url(""), store::ALL.iter().copied()).await?;
    let engine = saga_runtime::statements().map(|(_, name, sql)| (name, sql));
    service_testing::prepare(&world.url(""), engine).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_does_what_every_store_has_to_do() -> Result<()> {
    let world = world().await?;
    let reserved = |units| Reservation::Reserved { units };
    let samples: Samples<Newcomer> = Samples {
        sagas: vec![
            (
                new_saga(),
                vec![reserved(1), Reservation::Closed(Closing::Released)],
            ),
            (new_saga(), vec![Reservation::Closed(Closing::Refused)]),
            (new_saga(), vec![reserved(u32::MAX), reserved(2)]),
        ],
        shared: Vec::new(),
    };
    Ok(conformance::check(&world.pool, &Newcomer::default(), &Tables, &samples).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_ended_long_ago_is_pruned() -> Result<()> {
    let world = world().await?;
    let (now, day) = (chrono::Utc::now(), chrono::TimeDelta::days(1));
    let closed = Reservation::Closed(Closing::Released);
    let parked = new_saga();
    sqlx::query("insert into saga.parked_key (participant, key, reason) values ('newcomer', $1, 'a test')")
        .bind(parked.to_string())
        .execute(&world.pool)
        .await?;
    let mut kept = vec![
        (parked, closed, now - day * 2),
        (new_saga(), Reservation::Reserved { units: 1 }, now - day * 2),
        (new_saga(), closed, now),
    ];
    let gone = (new_saga(), closed, now - day * 2);
    let mut tx = world.pool.begin().await?;
    for (key, state, at) in kept.iter().chain([&gone]) {
        Tables.load(&mut tx, &[*key]).await?;
        let saved = Saved {
            key: *key,
            state: *state,
            ended: *state == closed,
        };
        Tables.save(&mut tx, &[saved], &[], *at).await?;
    }
    assert_eq!(Tables.prune(&mut tx, now - day, 10).await?, 1);
    kept.sort_by_key(|(key, ..)| *key);
    let keys: Vec<_> = kept.iter().map(|(key, ..)| *key).collect();
    let left: Vec<_> = kept.iter().map(|(key, state, _)| (*key, *state)).collect();
    assert_eq!(Tables.load(&mut tx, &keys).await?, left);
    Ok(())
}
