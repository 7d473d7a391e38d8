//! What the database refuses, whatever is done about it.

use anyhow::Result;
use saga_core::envelope;
use saga_runtime::CommandError;
use uuid::Uuid;

use crate::acting::pay;
use crate::consuming::{READ_ON, made};
use crate::world::{Running, World};

/// Text that no compression makes shorter than an index takes.
fn long() -> String {
    (0..150).map(|_| Uuid::new_v4().simple().to_string()).collect()
}

fn headers(source: &str) -> Vec<(&'static str, String)> {
    vec![
        (envelope::CE_ID, Uuid::new_v4().to_string()),
        (envelope::CE_SOURCE, source.to_owned()),
        (envelope::CE_TYPE, "visit.made".to_owned()),
        (envelope::CE_SPECVERSION, "1.0".to_owned()),
        (envelope::CE_DATASCHEMA, "visit.made/1".to_owned()),
    ]
}

async fn health(service: &Running, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let said = async {
        while !wanted(&format!("{:?}", service.health.report().checks.get("decisions"))) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    Ok(tokio::time::timeout(std::time::Duration::from_secs(30), said).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_column_takes_is_parked_and_nothing_else_stops() -> Result<()> {
    let world = World::new().await?;
    let service = world.start("a").await?;
    world.send_raw(
        "nul-source",
        br#"{"id":"nul-source","n":1}"#,
        &headers("/else\0where"),
    )?;
    world.send_raw("long-source", br#"{"id":"long-source","n":1}"#, &headers(&long()))?;
    world.send_raw(&long(), b"no headers", &[])?;
    world.send_raw("nul\0key", b"no headers", &[])?;
    for n in 0..20 {
        world.send(&made(&format!("v{n}"), n))?;
    }
    world.flush()?;
    world.until(READ_ON, 24).await?;
    assert_eq!(world.number("select count(*) from saga.parked_key").await?, 4);
    assert_eq!(
        world
            .number("select count(*) from saga.parked_key where key ~ '^sha256:[0-9a-f]{64}$'")
            .await?,
        1
    );
    // A replay finds them again under the names that they were given.
    world
        .run("update saga.parked_key set replay_requested = now()")
        .await?;
    world
        .until(
            "select count(*) from saga.parked_key where reason like 'replayed%'",
            4,
        )
        .await?;
    service.stop().await
}

/// Waits, says so, heeds the stop, and goes on when it was mended.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_even_be_parked_waits_for_an_operator() -> Result<()> {
    let world = World::new().await?;
    world
        .run("alter table saga.parked_key add constraint refuses check (key <> 'stuck')")
        .await?;
    let service = world.start("a").await?;
    world.send_raw("stuck", b"no headers", &[])?;
    world.flush()?;
    health(&service, |check| check.contains("refuses")).await?;
    service.stop().await?;

    let service = world.start("a").await?;
    health(&service, |check| check.contains("refuses")).await?;
    world
        .run("alter table saga.parked_key drop constraint refuses")
        .await?;
    world.until("select count(*) from saga.parked_key", 1).await?;
    health(&service, |check| check.contains("Up")).await?;
    service.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_reply_that_this_build_cannot_read_is_answered_at_once() -> Result<()> {
    let world = World::new().await?;
    let service = world.start("a").await?;
    pay(&service, "k", 5).await.expect("done");
    world.run(r#"update saga.command set reply = '"five"'"#).await?;
    let (again, other) = tokio::join!(pay(&service, "k", 5), pay(&service, "other", 1));
    assert!(matches!(again, Err(CommandError::GivenUp)), "{again:?}");
    assert_eq!(other.expect("done"), (6, false));
    service.stop().await
}

/// A column that is missing is nobody's message's fault.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_do_not_fit_park_nothing() -> Result<()> {
    let world = World::new().await?;
    world.run("alter table visit rename column told to heard").await?;
    let service = world.start("a").await?;
    for n in 0..20 {
        world.send(&made(&format!("v{n}"), n))?;
    }
    world.flush()?;
    health(&service, |check| check.contains("told")).await?;
    assert_eq!(world.number("select count(*) from saga.parked_key").await?, 0);
    world.run("alter table visit rename column heard to told").await?;
    world.until(READ_ON, 20).await?;
    health(&service, |check| check.contains("Up")).await?;
    assert_eq!(world.number("select count(*) from saga.parked_key").await?, 0);
    service.stop().await
}
