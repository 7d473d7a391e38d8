use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::PgPool;

use crate::ground::{Ground, PAYLOAD};
use crate::limits::RawRecord;
use crate::report::Report;
use crate::{latency, limits, usage};

const TOPIC: &str = "drain";

/// The relay begins when everything is there; the clock runs from its start to the last acknowledgement.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
pub(crate) async fn measure(ground: &Ground, rows: usize, report: &mut Report) -> Result<()> {
    let (url, pool) = ground.outbox("drain").await?;
    ground.topic(TOPIC).await?;
    report.say(&format!(
        "writing {rows} events of {PAYLOAD} bytes in transactions of 1000"
    ));
    fill(&pool, rows).await?;

    report.say("limit: COPY out of the same table");
    let copy = limits::copy_out(&pool, rows).await?;
    report.say("limit: raw librdkafka producer, bare and with an event's headers");
    // The broker compiles its code first; whoever came first would look slow.
    limits::raw_producer(ground, rows / 5, RawRecord::WarmUp).await?;
    let bare = limits::raw_producer(ground, rows, RawRecord::Bare).await?;
    let raw = limits::raw_producer(ground, rows, RawRecord::Event).await?;
    let limit = copy.min(raw);

    report.say("draining");
    let begun = Instant::now();
    let relay = latency::spawn_relay(ground, &url)?;
    let (first, last) = ground.filled(TOPIC, rows, Duration::from_secs(300)).await?;
    let used = usage::of(relay.id())?;
    drop(relay);
    report.add("limit.copy_out", copy, "rows/s");
    report.add("limit.raw_producer.bare", bare, "events/s");
    report.add("limit.raw_producer", raw, "events/s");
    let rate = rows as f64 / last.duration_since(first).as_secs_f64();
    report.compare("relay.drain", rate, "events/s", limit, "min(COPY, raw producer)");
    report.compare(
        "relay.drain.of_bare",
        rate,
        "events/s",
        copy.min(bare),
        "min(COPY, bare producer)",
    );
    report.compare("relay.drain.goal", rate, "events/s", 100_000.0, "first mark");
    report.add(
        "relay.drain.start",
        first.duration_since(begun).as_secs_f64() * 1000.0,
        "ms",
    );
    report.add(
        "relay.drain.cpu_per_million",
        used.processor.as_secs_f64() * 1e6 / rows as f64,
        "s",
    );
    report.add("relay.resident", used.resident_kb as f64 / 1024.0, "MB");
    Ok(())
}

async fn fill(pool: &PgPool, rows: usize) -> Result<()> {
    for batch in 0..rows.div_ceil(1000) {
        sqlx::query(
            "insert into saga.outbox (id, aggregatetype, aggregateid, type, payload, headers) \
             select gen_random_uuid(), $1, 'k' || ($2 + n) % 10000, 'bench.happened', convert_to(repeat('x', $3), 'UTF8'), \
                    '{\"content-type\":\"application/json\",\"ce_dataschema\":\"bench.happened/1\"}' \
               from generate_series(1, 1000) n",
        )
        .bind(TOPIC)
        .bind(i32::try_from(batch * 1000)?)
        .bind(i32::try_from(PAYLOAD)?)
        .execute(pool)
        .await?;
    }
    Ok(())
}
