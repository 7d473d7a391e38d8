use std::time::{Duration, Instant};

use anyhow::Result;

use crate::backlog::PAYLOAD;
use crate::crowd::Crowd;
use crate::ground::Ground;
use crate::latency::Publishing;
use crate::limits::RawRecord;
use crate::report::Report;
use crate::{backlog, latency, limits, usage};

const TOPIC: &str = "drain";
/// What of the limit the relay should reach.
const MARK: f64 = 0.70;

/// The relay begins when everything is there; the clock runs from its start to the last acknowledgement.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
pub(crate) async fn measure(ground: &Ground, rows: usize, report: &mut Report) -> Result<()> {
    let (url, pool) = ground.outbox("drain").await?;
    ground.topic(TOPIC).await?;
    report.say(&format!(
        "writing {rows} events of {PAYLOAD} bytes in transactions of 1000"
    ));
    backlog::fill(&pool, TOPIC, rows).await?;

    report.say("limit: COPY out of the same table");
    let copy = limits::copy_out(&pool, rows).await?;
    report.say("limit: raw librdkafka producer, bare and with an event's headers");
    let sample = rows.min(limits::MOST_OF_PRODUCER);
    let bare = limits::raw_producer(ground, sample, RawRecord::Bare).await?;
    let raw = limits::raw_producer(ground, sample, RawRecord::Event).await?;
    let limit = copy.min(raw);

    report.say("draining");
    let begun = Instant::now();
    let crowd = Crowd::begin(ground, &[])?;
    let relay = latency::spawn_relay(ground, &url, Publishing::AtLeastOnce)?;
    let (first, last) = ground.filled(TOPIC, rows, Duration::from_secs(300)).await?;
    let used = usage::of(relay.id())?;
    let peak_kb = usage::peak_kb(relay.id())?;
    let others = crowd.others(ground, &[relay.id()])?;
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
    report.compare("relay.drain.of_limit", rate / limit, "of limit", MARK, "mark");
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
    report.add("relay.resident.peak", peak_kb as f64 / 1024.0, "MB");
    report.add("relay.drain.cpu.of_others", others, "cores");
    pool.close().await;
    ground.forget_topic(TOPIC).await
}
