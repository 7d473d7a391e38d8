use anyhow::{Context as _, Result};
use failure_tests::{Customer, System, SystemOptions};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use local_stack::{TestStack, TestStackOptions};

use crate::buyers::{Buyers, Load, Outcome};
use crate::processes::{self, Processes};
use crate::report::Report;
use crate::sightings::STAGES;
use crate::{Options, ground, limits, programs};

/// Products to choose from: orders compete for their shelves.
const PRODUCTS: usize = 100;

/// Orders of the one customer who has the shop to itself.
const ALONE: usize = 300;

/// Whole orders through gRPC: place, reserve, charge, confirm, with every process on this one machine.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let finished = programs::shop().await?;
    report.say("starting PostgreSQL and Apache Kafka");
    let stack =
        tokio::task::spawn_blocking(|| TestStack::with_options(&TestStackOptions::for_figures())).await??;
    let addresses = stack.addresses();
    report.say("limit: 16 writers, each commit of one row on disk before the next");
    let pool = ground::outbox(&addresses.postgres_admin_url, "commits").await?.1;
    let commits = limits::writers(&pool, "commits", options.seconds.min(10)).await?;
    report.add("limit.commits", commits, "tx/s");
    pool.close().await;

    report.say("starting the shop");
    let wishes = SystemOptions {
        finished: Some(finished),
        ..SystemOptions::default()
    };
    let system = System::start(&addresses, &wishes).await?;
    report.say(&format!("filling {PRODUCTS} shelves"));
    let keeper = Customer::of(&system)?;
    let products = stream::iter(0..PRODUCTS)
        .map(|_| keeper.product(1_250, 1_000_000))
        .buffered(16)
        .try_collect()
        .await
        .context("fill a shelf")?;
    let buyers = Buyers::of(&system, products)?;
    let processes = Processes::of(&system, &stack).await?;

    alone(&buyers, report).await?;

    let flat_out = Load {
        orders: options.orders,
        callers: options.callers,
        under_way: options.under_way,
        rate: None,
        every_event: false,
    };
    // The broker's compiler is at work until it has seen some thousand orders.
    let warm_up = Load {
        orders: options.orders.div_ceil(2),
        ..flat_out
    };
    report.say(&format!("warming up with {} orders", warm_up.orders));
    buyers.run(warm_up, report).await?;

    report.say(&format!(
        "{} orders of {} callers, {} of them under way at most",
        flat_out.orders, flat_out.callers, flat_out.under_way
    ));
    let before = processes.look().await?;
    let Outcome { elapsed, .. } = buyers.run(flat_out, report).await?;
    let after = processes.look().await?;
    let rate = flat_out.orders as f64 / elapsed.as_secs_f64();
    report.compare("saga.throughput", rate, "sagas/s", 2_000.0, "first mark");
    report.compare(
        "saga.throughput.of_limit",
        rate,
        "sagas/s",
        commits,
        "commits of one row",
    );
    processes::compare(&before, &after, flat_out.orders, elapsed, report);

    let half = Load {
        orders: whole_seconds(rate / 2.0, options.seconds),
        rate: Some(rate / 2.0),
        under_way: flat_out.orders.max(10_000),
        every_event: true,
        ..flat_out
    };
    report.say(&format!("{} orders at half that rate", half.orders));
    let outcome = buyers.run(half, report).await?;
    latency("load", outcome, report);
    Ok(())
}

/// One order after the other, with nothing else going on.
async fn alone(buyers: &Buyers<'_>, report: &mut Report) -> Result<()> {
    report.say(&format!("one order after the other, {ALONE} times"));
    let one_by_one = Load {
        orders: ALONE,
        callers: 1,
        under_way: 1,
        rate: None,
        every_event: true,
    };
    let warm_up = Load {
        orders: ALONE / 10,
        ..one_by_one
    };
    buyers.run(warm_up, report).await?;
    let outcome = buyers.run(one_by_one, report).await?;
    latency("idle", outcome, report);
    Ok(())
}

/// The last stage is the whole saga; the others say where its time goes.
fn latency(when: &str, outcome: Outcome, report: &mut Report) {
    let mut reached: Vec<_> = STAGES.into_iter().zip(outcome.reached).collect();
    let Some((_, mut whole)) = reached.pop() else {
        return;
    };
    for (event, mut sample) in reached {
        report.add(
            format!("saga.reached.{event}.{when}"),
            sample.percentile_ms(50),
            "ms",
        );
    }
    let (middle, most) = (whole.percentile_ms(50), whole.percentile_ms(99));
    if when == "idle" {
        report.compare("saga.latency.p50.idle", middle, "ms", 60.0, "mark");
    } else {
        report.add(format!("saga.latency.p50.{when}"), middle, "ms");
    }
    report.add(format!("saga.latency.p99.{when}"), most, "ms");
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    clippy::float_arithmetic
)]
fn whole_seconds(rate: f64, seconds: u64) -> usize {
    (rate * seconds as f64).ceil() as usize
}
