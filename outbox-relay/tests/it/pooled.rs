use std::time::Duration;

use anyhow::Result;
use local_stack::{PgBouncer, PoolMode, TestStack};
use outbox_relay::{Hosts, Phase};
use tokio::task::spawn_blocking;

use super::checker::Reader;
use super::support::{Outbox, PASSWORD, Running, append};

/// An outbox behind a pooler; nothing where there is no pooler.
async fn behind(mode: PoolMode) -> Result<Option<(TestStack, PgBouncer, Outbox, Hosts)>> {
    if !PgBouncer::is_installed() {
        assert!(
            std::env::var_os("CI").is_none(),
            "there is no pgbouncer: deploy/native/prerequisites.sh test"
        );
        eprintln!("skipped: there is no pgbouncer here (deploy/native/prerequisites.sh test)");
        return Ok(None);
    }
    let (stack, pooler) = spawn_blocking(move || {
        let stack = TestStack::private()?;
        let pooler = stack.pgbouncer(mode, &[("it_relay", PASSWORD)])?;
        anyhow::Ok((stack, pooler))
    })
    .await??;
    let outbox = Outbox::on(stack.addresses()).await?;
    let url = format!(
        "postgres://it_relay:{PASSWORD}@{}/{}",
        pooler.address(),
        outbox.name
    );
    Ok(Some((stack, pooler, outbox, url.parse()?)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_keeps_sessions_is_no_matter() -> Result<()> {
    let Some((_stack, _pooler, outbox, hosts)) = behind(PoolMode::Session).await? else {
        return Ok(());
    };
    let topic = outbox.create_topic("events", 1, &[]).await?;
    let mut options = outbox.relay("a");
    options.database = hosts;
    let relay = Running::start(options);
    let mut writer = outbox.connect("it").await?;
    for _ in 0..3 {
        append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
    }
    Reader::new(&outbox, &topic, 1)?.take(3).await;
    relay.stop().await;
    Ok(())
}

/// Several relays at once: what is refused must not depend on who was there first.
#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_sessions_is_refused_with_what_to_do() -> Result<()> {
    let Some((_stack, _pooler, outbox, hosts)) = behind(PoolMode::Transaction).await? else {
        return Ok(());
    };
    let relays: Vec<Running> = ["a", "b", "c"]
        .into_iter()
        .map(|owner| {
            let mut options = outbox.relay(owner);
            options.database = hosts.clone();
            Running::start(options)
        })
        .collect();
    for relay in relays {
        relay
            .until(
                "refused",
                |phase| matches!(phase, Phase::Failing { reason } if reason.contains("pool_mode = session")),
            )
            .await;
        tokio::time::timeout(Duration::from_secs(20), relay.stop()).await?;
    }
    Ok(())
}
