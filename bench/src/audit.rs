use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use failure_tests::{System, SystemOptions};
use local_stack::{TestStack, TestStackOptions};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

use crate::report::Report;
use crate::{programs, usage};

/// Events of an order that goes well.
const EVENTS: usize = 6;

/// Orders per transaction.
const BATCH: usize = 5_000;

const PRODUCT: &str = "'00000000-0000-0000-0000-0000000000aa'::uuid";

/// How often it is asked; the fastest counts, since others use the machine, too.
const TIMES: usize = 3;

/// An audit of so many events of orders that went well, with their rows in the services' tables.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
pub(crate) async fn measure(events: usize, report: &mut Report) -> Result<()> {
    let finished = programs::shop().await?;
    let stack =
        tokio::task::spawn_blocking(|| TestStack::with_options(&TestStackOptions::for_figures())).await??;
    let wishes = SystemOptions {
        finished: Some(finished),
        ..SystemOptions::default()
    };
    let shop = System::start(&stack.addresses(), &wishes).await?;
    let orders = events.div_ceil(EVENTS).next_multiple_of(BATCH);
    report.say(&format!("writing {orders} orders with {EVENTS} events each"));
    fill(&shop, orders).await?;
    report.say("waiting until the events are published and read");
    settle(&shop).await?;

    let (mut best, mut used) = (None::<Value>, usage::Usage::default());
    for _ in 0..TIMES {
        let (answer, one) = ask(&shop).await?;
        ensure!(answer["clean"] == true, "{answer:#}");
        let took = |answer: &Value| answer["took_ms"].as_u64().unwrap_or(u64::MAX);
        if best.as_ref().is_none_or(|best| took(&answer) < took(best)) {
            (best, used) = (Some(answer), one);
        }
    }
    let best = best.context("it was asked")?;
    let seen = best["events"].as_u64().unwrap_or_default().max(1) as f64;
    let took = best["took_ms"].as_u64().unwrap_or_default() as f64 / 1000.0;
    report.add("audit.per_million_events", took * 1e6 / seen, "s");
    report.add(
        "audit.cpu_per_million_events",
        used.processor.as_secs_f64() * 1e6 / seen,
        "s",
    );
    report.add("audit.resident", used.resident_kb as f64 / 1024.0, "MB");
    Ok(())
}

/// The rows that these orders would have left, and their events.
async fn fill(shop: &System, orders: usize) -> Result<()> {
    let [order, inventory, payment] = [
        shop.database("order").await?,
        shop.database("inventory").await?,
        shop.database("payment").await?,
    ];
    let units = i64::try_from(orders)?;
    let shelf = format!(
        "insert into shelf (product_id, received, on_hand, held, sold) values ({PRODUCT}, {units}, 0, 0, {units})"
    );
    sqlx::raw_sql(AssertSqlSafe(shelf)).execute(&inventory).await?;
    for first in (0..orders).step_by(BATCH) {
        let last = first + BATCH - 1;
        let ids = format!(
            "with one as (select md5('order-' || n)::uuid as id, md5('payment-' || n)::uuid as payment_id from generate_series({first}, {last}) n)"
        );
        let price = r#"{"minor": 500, "currency": "EUR"}"#;
        let lines = format!(
            "jsonb_build_array(jsonb_build_object('product_id', {PRODUCT}, 'quantity', 1, 'unit_price', '{price}'::jsonb))"
        );
        let quantities =
            format!("jsonb_build_array(jsonb_build_object('product_id', {PRODUCT}, 'quantity', 1))");
        run(
            &order,
            format!(
                "{ids} insert into orders (id, status, owner, lines, total_minor, currency, method, ended_at)
                 select id, 'confirmed', 'a customer', {lines}, 500, 'EUR', 'card', now() from one"
            ),
        )
        .await?;
        run(
            &inventory,
            format!("{ids} insert into hold (order_id, state, ended_at) select id, 'sold', now() from one"),
        )
        .await?;
        run(
            &payment,
            format!(
                "{ids} insert into payment (order_id, payment_id, state, amount_minor, currency, method)
                 select id, payment_id, 'captured', 500, 'EUR', 'card' from one"
            ),
        )
        .await?;
        let paid = format!("'payment_id', payment_id, 'amount', '{price}'::jsonb");
        for (database, topic, name, more) in [
            (
                &order,
                "order-events",
                "order.created",
                format!(
                    "'owner', 'a customer', 'lines', {lines}, 'total', '{price}'::jsonb, \
                     'payment_method', '{{\"kind\": \"card\", \"token\": \"tok_ok\"}}'::jsonb"
                ),
            ),
            (
                &inventory,
                "stock-events",
                "stock.reserved",
                format!("'lines', {quantities}"),
            ),
            (&payment, "payment-events", "payment.created", paid.clone()),
            (&payment, "payment-events", "payment.succeeded", paid.clone()),
            (
                &order,
                "order-events",
                "order.confirmed",
                "'order_id', id".to_owned(),
            ),
            (
                &inventory,
                "stock-events",
                "stock.committed",
                format!("'lines', {quantities}"),
            ),
        ] {
            let topic = shop.topic(topic);
            run(
                database,
                format!(
                    "{ids} insert into saga.outbox (id, aggregatetype, aggregateid, type, payload, headers)
                     select gen_random_uuid(), '{topic}', id::text, '{name}',
                            convert_to(jsonb_build_object('order_id', id, {more})::text, 'UTF8'),
                            jsonb_build_object('content-type', 'application/json', 'ce_dataschema', '{name}/1',
                                               'ce_correlationid', id, 'ce_causationid', gen_random_uuid())
                       from one"
                ),
            )
            .await?;
        }
    }
    Ok(())
}

async fn run(database: &PgPool, sql: String) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(database).await?;
    Ok(())
}

async fn settle(shop: &System) -> Result<()> {
    let begun = Instant::now();
    loop {
        let (answer, _) = ask(shop).await?;
        let way = &answer["on_the_way"];
        if way["unread"] == 0 && way["orders"] == 0 {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < Duration::from_secs(1200),
            "still on its way: {way:#}"
        );
    }
}

/// What the audit says, and the most that it used.
async fn ask(shop: &System) -> Result<(Value, usage::Usage)> {
    let mut command = shop.operator(&["audit", "--output", "json"]);
    let child = command.stdout(std::process::Stdio::piped()).spawn()?;
    let pid = child.id().context("it runs")?;
    let most = tokio::spawn(async move {
        let mut most = usage::Usage::default();
        while let Ok(now) = usage::of(pid) {
            // Between its end and its funeral a process has no memory.
            most.resident_kb = most.resident_kb.max(now.resident_kb);
            most.processor = most.processor.max(now.processor);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        most
    });
    let output = child.wait_with_output().await?;
    let answer = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)))?;
    Ok((answer, most.await?))
}
