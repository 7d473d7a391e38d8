use std::time::Duration;

use anyhow::Result;
use outbox_relay::Options;

use crate::crowd::Crowd;
use crate::ground::{Ground, PARTITIONS};
use crate::latency::{self, Publishing};
use crate::report::Report;
use crate::{backlog, usage};

/// The most events that one transaction has: the relay's default, as it runs here.
fn piece(url: &str) -> Result<usize> {
    let options = Options::new("bench".parse()?, url.parse()?, Vec::new());
    Ok(usize::try_from(options.transaction_rows)?)
}

/// What it costs that each event is seen once by whoever reads what is committed: a drain and a latency, both ways.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
pub(crate) async fn measure(ground: &Ground, rows: usize, seconds: u64, report: &mut Report) -> Result<()> {
    let [least, once] = [
        ("at_least_once", Publishing::AtLeastOnce),
        ("once", Publishing::Once),
    ];
    let mut drains = Vec::new();
    let mut latencies = Vec::new();
    // The first of the two would pay for a broker that has not compiled its code yet.
    drain(ground, "tx_warm", rows / 5, least.1).await?;
    for (name, publishing) in [least, once] {
        report.say(&format!("draining {rows} events, {name}"));
        drains.push(drain(ground, name, rows, publishing).await?);
    }
    for (topic, publishing) in [("paced_least", least.1), ("paced_once", once.1)] {
        report.say(&format!("latency at 500 events a second, {topic}"));
        let (url, pool) = ground.outbox(topic).await?;
        ground.topic(topic).await?;
        let relay = latency::spawn_relay(ground, &url, publishing)?;
        // Its first events are those of a relay that does not know its topic yet.
        latency::paced(ground, &pool, (topic, topic), None, 500.0, 3).await?;
        let mut paced = latency::paced(ground, &pool, (topic, topic), None, 500.0, seconds).await?;
        latencies.push([paced.seen.percentile_ms(50), paced.seen.percentile_ms(99)]);
        drop(relay);
        pool.close().await;
        ground.forget_topic(topic).await?;
    }
    let compare = |report: &mut Report, name: &str, unit: &'static str, [least, once]: [f64; 2]| {
        report.compare(
            format!("relay.transactions.{name}"),
            once,
            unit,
            least,
            "at least once",
        );
    };
    let pair = |of: fn(&Drained) -> f64| [of(&drains[0]), of(&drains[1])];
    compare(report, "drain", "events/s", pair(|drained| drained.rate));
    compare(
        report,
        "drain.cpu_per_million",
        "s",
        pair(|drained| drained.cpu_per_million),
    );
    for (at, name) in ["p50", "p99"].into_iter().enumerate() {
        let pair = [latencies[0][at], latencies[1][at]];
        compare(report, &format!("latency.{name}@500"), "ms", pair);
    }
    let others = drains.iter().map(|drained| drained.others).fold(0.0, f64::max);
    report.add("relay.transactions.cpu.of_others", others, "cores");
    Ok(())
}

struct Drained {
    rate: f64,
    cpu_per_million: f64,
    others: f64,
}

#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
async fn drain(ground: &Ground, topic: &'static str, rows: usize, publishing: Publishing) -> Result<Drained> {
    let (url, pool) = ground.outbox(topic).await?;
    ground.topic(topic).await?;
    backlog::fill(&pool, topic, rows).await?;
    ground.settle().await?;
    let crowd = Crowd::begin(ground, &[])?;
    let relay = latency::spawn_relay(ground, &url, publishing)?;
    // Each transaction leaves a marker in each partition that it wrote to: all of them, with so many keys. The last one may
    // be of a few events.
    let markers = match publishing {
        Publishing::AtLeastOnce => 0,
        Publishing::Once => rows / piece(&url)? * usize::try_from(PARTITIONS)?,
    };
    let patience = Duration::from_secs(300);
    let (first, last) = ground.filled(topic, rows + markers, patience).await?;
    let used = usage::of(relay.id())?;
    let others = crowd.others(ground, &[relay.id()])?;
    drop(relay);
    pool.close().await;
    ground.forget_topic(topic).await?;
    Ok(Drained {
        rate: rows as f64 / last.duration_since(first).as_secs_f64(),
        cpu_per_million: used.processor.as_secs_f64() * 1e6 / rows as f64,
        others,
    })
}
