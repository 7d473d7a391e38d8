use anyhow::{Context as _, Result};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::world::World;

/// So many wait for a later moment, and so many are due.
const WAITING: i64 = 20_000;
const DUE: i64 = 20;

/// With a provider that is slow, or a hundred thousand orders before their deadline, nearly everything waits for later.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_found_without_reading_what_is_not() -> Result<()> {
    let world = World::new().await?;
    let mut session = world.admin.acquire().await?;
    for table in [
        "insert into saga.effect (id, participant, saga, kind, payload, due_at)
         select gen_random_uuid(), 'kiosk', 'v' || n, 'greet', ''::bytea",
        "insert into saga.timer (id, participant, saga, name, due_at)
         select gen_random_uuid(), 'kiosk', 'v' || n, 'late'",
    ] {
        let fill = format!(
            "{table}, now() + case when n <= {DUE} then -1 else 1 end * interval '1 hour'
               from generate_series(1, {DUE} + {WAITING}) n"
        );
        sqlx::query(AssertSqlSafe(fill)).execute(&mut *session).await?;
    }
    sqlx::query("analyze saga.effect, saga.timer")
        .execute(&mut *session)
        .await?;
    let due = read_by(&mut session, ("timer", "due"), "'kiosk'").await?;
    assert!((DUE..3 * DUE).contains(&due), "timers: {due} rows are read");
    let claimed = read_by(
        &mut session,
        ("effect", "claim"),
        "'kiosk', array['greet'], 1000, array[]::text[], 64",
    )
    .await?;
    assert!(
        (DUE..5 * DUE).contains(&claimed),
        "effects: {claimed} rows are read"
    );
    Ok(())
}

/// How many rows of tables a statement reads, also those that it throws away.
async fn read_by(session: &mut PgConnection, whose: (&str, &str), arguments: &str) -> Result<i64> {
    let (_, _, sql) = saga_runtime::statements()
        .find(|(module, name, _)| (*module, *name) == whose)
        .context("no such statement")?;
    for prepare in [
        "set plan_cache_mode = force_generic_plan".to_owned(),
        format!("prepare plan as {sql}"),
    ] {
        sqlx::query(AssertSqlSafe(prepare)).execute(&mut *session).await?;
    }
    let explain = format!("explain (analyze, timing off, format json) execute plan({arguments})");
    let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain))
        .fetch_one(&mut *session)
        .await?;
    sqlx::query("deallocate plan").execute(&mut *session).await?;
    Ok(rows(&plan))
}

fn rows(plan: &Value) -> i64 {
    #[allow(clippy::cast_possible_truncation, reason = "whole numbers")]
    let number = |name: &str| plan[name].as_f64().unwrap_or(0.0) as i64;
    let own = match plan["Relation Name"].as_str() {
        Some(_) => (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops"),
        None => 0,
    };
    own + match plan {
        Value::Array(all) => all.iter().map(rows).sum(),
        Value::Object(all) => all.values().map(rows).sum(),
        _ => 0,
    }
}
