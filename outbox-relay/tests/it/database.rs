use anyhow::{Context as _, Result, ensure};
use outbox_relay::{STATEMENTS, migrate};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use tokio::task::JoinSet;

use super::checker::{Checker, Reader};
use super::outages::private;
use super::support::{Outbox, Running, append, run};
use super::writers::Writers;

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

/// Events are read from their table: the server's log need not say more than a crash asks for, and nobody may read it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_replicated_is_enough() -> Result<()> {
    let (stack, outbox, topic) = private().await?;
    let mut admin = outbox.admin().await?;
    for setting in [
        "wal_level = minimal",
        "max_wal_senders = 0",
        "max_replication_slots = 0",
    ] {
        run(&mut admin, &format!("alter system set {setting}")).await?;
    }
    drop(admin);
    tokio::task::block_in_place(|| {
        stack.postgres().stop()?;
        stack.postgres().start()
    })?;
    let level: String = sqlx::query_scalar("show wal_level")
        .fetch_one(&mut outbox.admin().await?)
        .await?;
    assert_eq!(level, "minimal");

    let relay = Running::start(outbox.relay("a"));
    let writers = Writers {
        tasks: 4,
        transactions: 50,
        keys: 10,
        seed: 13,
    };
    let expected = writers.write(&outbox, &topic).await?;
    Checker::default()
        .finish(&Reader::new(&outbox, &topic, 3)?, &expected)
        .await?;
    relay.stop().await;
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
    let mut relay = configured(&outbox).await?;
    let plans = [
        ("READ_SMALL", "'1:1:', '9999999:9999999:', '{}', 100, 1000000"),
        ("READ_PIECE", "'1:1:', '9999999:9999999:', 0, 100, 1000000, 20000"),
        (
            "READ_PIECE_OF_LARGE",
            "'1:1:', '9999999:9999999:', 0, 100, 1000000, 20000",
        ),
        ("FIRST_POSITION", "'1:1:', '9999999:9999999:', '{}', 100"),
        ("LAST_POSITION", ""),
        ("NEXT_POSITION", "100"),
        ("OPEN", "'it', 1, 1, '1:1:', '{}', false"),
    ];
    for (name, arguments) in plans {
        run(&mut relay, &format!("prepare plan as {}", statement(name))).await?;
        let execute = if arguments.is_empty() {
            "explain execute plan".to_owned()
        } else {
            format!("explain execute plan({arguments})")
        };
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(execute))
            .fetch_all(&mut relay)
            .await?;
        let plan = plan.join("\n");
        ensure!(!plan.contains("Seq Scan on outbox"), "{name}:\n{plan}");
        ensure!(
            !name.starts_with("READ_PIECE") || !plan.contains("Sort  "),
            "{name}:\n{plan}"
        );
        run(&mut relay, "deallocate plan").await?;
    }
    Ok(())
}

/// A statement that waits for a lock has to see what was committed meanwhile: else a window that is opened while the lease
/// is renewed would fail, and a recovery would miss events.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_read_what_is_committed_whatever_the_database_has_for_a_default() -> Result<()> {
    let outbox = Outbox::new().await?;
    run(
        &mut outbox.admin().await?,
        &format!(
            "alter database {} set default_transaction_isolation = 'repeatable read'",
            outbox.name
        ),
    )
    .await?;
    let isolation = async |connection: &mut PgConnection| -> Result<String> {
        Ok(sqlx::query_scalar("show transaction_isolation")
            .fetch_one(connection)
            .await?)
    };
    ensure!(isolation(&mut outbox.connect("it_relay").await?).await? == "repeatable read");
    ensure!(isolation(&mut configured(&outbox).await?).await? == "read committed");
    Ok(())
}

/// Between the rows of a big window, and behind them, there may be millions that are not its own.
#[tokio::test(flavor = "multi_thread")]
async fn statements_look_at_few_rows_that_are_not_asked_for() -> Result<()> {
    let outbox = Outbox::new().await?;
    let mut owner = outbox.connect("it_migrate").await?;
    let mut snapshots = Vec::new();
    for _ in 0..3 {
        run(
            &mut owner,
            "insert into saga.outbox (id, aggregatetype, aggregateid, type, slot)
             select gen_random_uuid(), 't', 'k', 't', (i % 4)::smallint from generate_series(1, 4000) i",
        )
        .await?;
        let snapshot: String = sqlx::query_scalar("select pg_current_snapshot()::text")
            .fetch_one(&mut owner)
            .await?;
        snapshots.push(snapshot);
    }
    let [after, until, _] = &snapshots[..] else {
        unreachable!("three of them")
    };
    let mut relay = configured(&outbox).await?;
    let mut looks_at = async |name: &str, arguments: &str| looks_at(&mut relay, name, arguments).await;
    for name in ["READ_PIECE", "READ_PIECE_OF_LARGE"] {
        let last = looks_at(name, &format!("'{after}', '{until}', 7950, 100, 1000000, 8000")).await?;
        ensure!(last == 50, "the last piece looks at {last} rows");
    }
    let first = looks_at("FIRST_POSITION", &format!("'{after}', '{until}', '{{}}', 100")).await?;
    ensure!(first == 100, "the beginning of a window looks at {first} rows");
    let end = looks_at("LAST_POSITION", "").await? + looks_at("NEXT_POSITION", "4000").await?;
    ensure!(end == 8, "two positions look at {end} rows");
    Ok(())
}

/// What was acknowledged may be a thousand times as much as what waits.
#[tokio::test(flavor = "multi_thread")]
async fn the_status_and_the_preflight_look_at_what_waits() -> Result<()> {
    let outbox = Outbox::new().await?;
    let mut owner = outbox.connect("it_migrate").await?;
    let mut slow = outbox.connect("it").await?;
    run(&mut slow, "begin").await?;
    append(&mut slow, "t", "slow", "t", None, "{}").await?;
    run(
        &mut owner,
        "insert into saga.outbox (id, aggregatetype, aggregateid, type, slot)
         select gen_random_uuid(), 't', 'k', 't', (i % 4)::smallint from generate_series(1, 4000) i",
    )
    .await?;
    run(
        &mut owner,
        "insert into saga.relay (source, system_identifier, timeline, acked_snap)
         values ('it', 1, 1, pg_current_snapshot())",
    )
    .await?;
    run(&mut slow, "commit").await?;
    append(&mut owner, "t", "k", "t", None, "{}").await?;
    let mut relay = configured(&outbox).await?;
    let rows = looks_at(&mut relay, "STATUS", "").await?;
    ensure!(rows == 2, "the status looks at {rows} rows");
    let rows = looks_at(&mut relay, "TARGETS", "").await?;
    ensure!(rows == 2, "the preflight looks at {rows} rows");
    let status = outbox_relay::status::read(&outbox.options("it_relay")).await?;
    ensure!(status.is_some_and(|status| status.unpublished == 2 && status.oldest.is_some()));
    Ok(())
}

fn statement(name: &str) -> &'static str {
    let found = STATEMENTS.iter().find(|(known, _)| *known == name);
    found.expect("known").1
}

/// A session like the relay's own.
async fn configured(outbox: &Outbox) -> Result<PgConnection> {
    let mut relay = outbox.connect("it_relay").await?;
    sqlx::query(statement("CONFIGURE"))
        .bind("60000")
        .execute(&mut relay)
        .await?;
    Ok(relay)
}

/// How many rows of the outbox a statement finds and how many it throws away.
async fn looks_at(relay: &mut PgConnection, name: &str, arguments: &str) -> Result<i64> {
    run(relay, &format!("prepare plan as {}", statement(name))).await?;
    let arguments = Some(arguments).filter(|arguments| !arguments.is_empty());
    let arguments = arguments.map_or_else(String::new, |arguments| format!("({arguments})"));
    let plan: serde_json::Value = sqlx::query_scalar(AssertSqlSafe(format!(
        "explain (analyze, timing off, format json) execute plan{arguments}"
    )))
    .fetch_one(&mut *relay)
    .await?;
    run(relay, "deallocate plan").await?;
    Ok(rows_of_leaves(&plan))
}

fn rows_of_leaves(plan: &serde_json::Value) -> i64 {
    #[allow(clippy::cast_possible_truncation, reason = "whole numbers")]
    let number = |name: &str| plan[name].as_f64().unwrap_or(0.0) as i64;
    let own = match plan["Relation Name"].as_str() {
        Some(relation) if relation.starts_with("outbox_") => {
            let thrown_away = number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
            (number("Actual Rows") + thrown_away) * number("Actual Loops")
        }
        _ => 0,
    };
    let inner = match plan {
        serde_json::Value::Array(all) => all.iter().map(rows_of_leaves).sum(),
        serde_json::Value::Object(all) => all.values().map(rows_of_leaves).sum(),
        _ => 0,
    };
    own + inner
}
