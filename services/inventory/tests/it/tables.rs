use anyhow::Result;
use inventory::participant::{Closing, Hold, In, Inventory, Shelf};
use inventory::store::{self, MIGRATOR, Tables};
use quadrille_contracts::stock::Quantity;
use saga_runtime::conformance::{self, Samples};
use saga_runtime::store::Saved;
use saga_runtime::{Retention, Store as _};
use service_testing::World;

use crate::shop::{new_order, new_product};

async fn world() -> Result<World> {
    World::new("inventory", &MIGRATOR, &saga_core::input::topics::<In>()).await
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
    let held = |units: u32| Hold::Held {
        lines: (1..=units)
            .map(|quantity| Quantity {
                product_id: new_product(),
                quantity,
            })
            .collect(),
    };
    let closed = |how| vec![held(1), Hold::Closed(how)];
    let shelf = |received, held, sold| Shelf {
        received,
        on_hand: received - held - sold,
        held,
        sold,
    };
    let samples: Samples<Inventory> = Samples {
        sagas: vec![
            (new_order(), vec![held(3), Hold::Closed(Closing::Sold)]),
            (new_order(), closed(Closing::Cancelled)),
            (new_order(), vec![Hold::Closed(Closing::Rejected)]),
            (new_order(), vec![held(u32::from(u8::MAX)), held(1)]),
        ],
        shared: vec![
            (
                new_product(),
                vec![shelf(7, 0, 0), shelf(9, 2, 0), shelf(9, 0, 2)],
            ),
            (new_product(), vec![shelf(Shelf::MAX, 1, Shelf::MAX - 1)]),
        ],
    };
    Ok(conformance::check(&world.pool, &Inventory::default(), &Tables, &samples).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_ended_long_ago_is_pruned() -> Result<()> {
    let world = world().await?;
    let now = chrono::Utc::now();
    let retention = Retention::default().ended_sagas;
    let parked = new_order();
    sqlx::query("insert into saga.parked_key (participant, key, reason) values ('inventory', $1, 'a test')")
        .bind(parked.to_string())
        .execute(&world.pool)
        .await?;
    let states = [
        (parked, Hold::Closed(Closing::Sold), now - 2 * retention),
        (new_order(), Hold::Held { lines: vec![] }, now - 2 * retention),
        (new_order(), Hold::Closed(Closing::Sold), now - 2 * retention),
        (new_order(), Hold::Closed(Closing::Cancelled), now - 2 * retention),
        (new_order(), Hold::Closed(Closing::Rejected), now),
    ];
    let mut kept = Vec::new();
    for (key, state, at) in states {
        let ended = matches!(state, Hold::Closed(_));
        if key == parked || !(ended && at < now) {
            kept.push((key, state.clone()));
        }
        let mut tx = world.pool.begin().await?;
        Tables.load(&mut tx, &[key]).await?;
        Tables
            .save(&mut tx, &[Saved { key, state, ended }], &[], at)
            .await?;
        tx.commit().await?;
    }
    let mut tx = world.pool.begin().await?;
    let before = now - retention;
    assert_eq!(Tables.prune(&mut tx, before, 1).await?, 1);
    assert_eq!(Tables.prune(&mut tx, before, 10).await?, 1);
    assert_eq!(Tables.prune(&mut tx, before, 10).await?, 0);
    kept.sort_by_key(|(key, _)| *key);
    let keys: Vec<_> = kept.iter().map(|(key, _)| *key).collect();
    assert_eq!(Tables.load(&mut tx, &keys).await?, kept);
    Ok(())
}
