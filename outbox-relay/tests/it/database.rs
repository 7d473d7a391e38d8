use anyhow::{Context as _, Result, ensure};
use outbox_relay::{STATEMENTS, migrate};
use sqlx::AssertSqlSafe;
use tokio::task::JoinSet;

use super::support::{Outbox, run};

/// Catches drift between statements and migrations, and grants that are missing.
#[tokio::test(flavor = "multi_thread")]
async fn every_statement_can_be_prepared_by_the_relays_role() -> Result<()> {
    let outbox = Outbox::new().await?;
    let mut relay = outbox.connect("it_relay").await?;
    for (name, sql) in STATEMENTS {
        run(&mut relay, &format!("prepare one as {sql}"))
            .await
            .with_context(|| (*name).to_owned())?;
        run(&mut relay, "deallocate one").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relays_role_sees_nothing_but_the_outbox() -> Result<()> {
    let outbox = Outbox::new().await?;
    let mut relay = outbox.connect("it_relay").await?;
    for refused in [
        "select * from agg",
        "insert into saga.outbox (id, aggregatetype, aggregateid, type) values (gen_random_uuid(), 't', 'k', 't')",
        "delete from saga.outbox",
        "update saga.relay_window set win = 1",
        "delete from saga.relay",
    ] {
        let answer = run(&mut relay, refused).await;
        ensure!(
            answer.is_err_and(|error| error.to_string().contains("permission denied")),
            "{refused}"
        );
    }
    let mut service = outbox.connect("it").await?;
    ensure!(run(&mut service, "select * from saga.relay").await.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_may_migrate_at_once() -> Result<()> {
    let outbox = Outbox::new().await?;
    run(&mut outbox.superuser().await?, "drop schema saga cascade").await?;
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let pool = outbox.pool("it_migrate", 1).await?;
        tasks.spawn(async move { migrate::outbox(&pool).await });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(())
}

/// Statistics of tables that are empty most of the time mislead; whatever they say, windows are read by
/// index, and big ones without a sort.
#[tokio::test(flavor = "multi_thread")]
async fn windows_are_read_by_index() -> Result<()> {
    let outbox = Outbox::new().await?;
    let mut owner = outbox.connect("it_migrate").await?;
    run(&mut owner, "analyze saga.outbox").await?;
    run(
        &mut owner,
        "insert into saga.outbox (id, aggregatetype, aggregateid, type, slot)
         select gen_random_uuid(), 't', 'k', 't', (i % 4)::smallint from generate_series(1, 20000) i",
    )
    .await?;
    let mut relay = outbox.connect("it_relay").await?;
    let statement = |name: &str| {
        STATEMENTS
            .iter()
            .find(|(known, _)| *known == name)
            .expect("known")
            .1
    };
    sqlx::query(statement("CONFIGURE"))
        .bind("60000")
        .execute(&mut relay)
        .await?;
    let plans = [
        ("READ_SMALL", "'1:1:', '9999999:9999999:', '{}', 100, 1000000"),
        ("READ_CHUNK", "'1:1:', '9999999:9999999:', 0, 100, 1000000"),
        ("FIRST_POSITION", "'1:1:', '9999999:9999999:', '{}'"),
        ("OPEN", "'it', 1, 1, '1:1:', '{}', false"),
    ];
    for (name, arguments) in plans {
        run(&mut relay, &format!("prepare plan as {}", statement(name))).await?;
        let plan: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(format!("explain execute plan({arguments})")))
                .fetch_all(&mut relay)
                .await?;
        let plan = plan.join("\n");
        ensure!(!plan.contains("Seq Scan on outbox"), "{name}:\n{plan}");
        ensure!(
            name != "READ_CHUNK" || !plan.contains("Sort  "),
            "{name}:\n{plan}"
        );
        run(&mut relay, "deallocate plan").await?;
    }
    Ok(())
}
