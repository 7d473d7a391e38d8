//! `just bench`: figures of Quadrille, each beside the limit of the same machine in the same run.
//!
//! Absolute times are noise on a shared machine; the ratio to the limit is the result. Everything is real: a
//! PostgreSQL that waits for the disk, an Apache Kafka, the programs as they are released.

/// What an audit costs.
mod audit;
/// Rows that wait.
mod backlog;
/// What writers keep beside the relay.
mod beside;
/// Who orders, how fast, and what became of it.
mod buyers;
/// Which cores somebody runs on.
mod cores;
/// Who else was at work.
mod crowd;
/// How fast the relay drains a backlog.
mod drain;
/// Whether an event costs the same whatever waits.
mod flat;
/// A database, topics and records for the relay's figures.
mod ground;
/// While another session holds a snapshot open.
mod held;
/// What an outbox costs that sleeps.
mod idle;
/// From commit to consumer.
mod latency;
/// What the machine can do: raw producer, COPY, commits.
mod limits;
/// Somebody who takes processor time and nothing else.
mod neighbour;
/// The same rows through what others use.
mod peers;
/// PostgreSQL's own benchmark.
mod pgbench;
/// What each process uses per saga.
mod processes;
/// The programs, as they are released.
mod programs;
/// What a figure is, the table, and the JSON.
mod report;
/// Whole orders through the shop.
mod sagas;
/// Percentiles.
mod sample;
/// When a consumer saw which event of which order.
mod sightings;
/// What exactly once costs.
mod transactions;
/// Memory and processor time of a process.
mod usage;
/// A broker that has compiled its code.
mod warm;
/// Who writes as fast as the server commits.
mod writers;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::report::Report;

/// The relay's allocator: with the C library's, the raw producer would be a slower limit than it is.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures Quadrille against the limits of this machine.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "bench",
    after_help = "Figures go to .local/bench/latest.json as well. Run it with --release."
)]
pub(crate) struct Options {
    /// Only figures whose name begins so: relay, relay.drain, relay.writers, relay.latency, relay.transactions, relay.flat, relay.idle, relay.held, peers, saga, audit.
    only: Option<String>,
    /// Rows of each drain, and events of the audit.
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    /// What everybody who publishes does with a batch: the relay, the raw producer, Debezium, the poller.
    #[arg(long, value_enum, default_value = "none")]
    compression: ground::Compression,
    /// How often ours and Debezium drain the backlog, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Events per second while a snapshot is held.
    #[arg(long, default_value_t = 10_000)]
    held_rate: usize,
    /// Seconds of each latency.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Orders of the throughput of sagas.
    #[arg(long, default_value_t = 20_000)]
    orders: usize,
    /// Customers who order at the same time.
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// Orders that are placed and not yet confirmed, at most.
    #[arg(long, default_value_t = 2_000)]
    under_way: usize,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only
            .as_deref()
            .is_none_or(|only| name.starts_with(only) || only.starts_with(name))
    }
}

fn main() -> ExitCode {
    if cfg!(debug_assertions) {
        eprintln!(
            "a debug build says nothing about speed: run 'just bench', or cargo run --release -p bench"
        );
        return ExitCode::from(64);
    }
    let options = Options::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::from(70);
        }
    };
    match runtime.block_on(run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(70)
        }
    }
}

async fn run(options: &Options) -> Result<()> {
    let mut report = Report::begin();
    if options.wants("relay") {
        let ground = ground::Ground::prepare(false, options.compression).await?;
        if options.wants("relay.drain") {
            drain::measure(&ground, options.rows, &mut report).await?;
        }
        if options.wants("relay.writers") {
            beside::measure(&ground, options.seconds, &mut report).await?;
        }
        if options.wants("relay.latency") {
            latency::measure(&ground, options.seconds, &mut report).await?;
        }
        if options.wants("relay.transactions") {
            transactions::measure(&ground, options.rows, options.seconds, &mut report).await?;
        }
        if options.wants("relay.flat") {
            flat::measure(&ground, options.rows, &mut report).await?;
        }
        if options.wants("relay.idle") {
            idle::measure(&ground, &mut report).await?;
        }
        if options.wants("relay.held") {
            held::measure(&ground, options.rows, options.held_rate, &mut report).await?;
        }
    }
    if options.wants("peers") {
        let ground = ground::Ground::prepare(true, options.compression).await?;
        let load = peers::Load {
            rows: options.rows,
            rounds: options.rounds,
            seconds: options.seconds,
        };
        peers::measure(&ground, load, &mut report).await?;
    }
    if options.wants("saga") {
        sagas::measure(options, &mut report).await?;
    }
    if options.wants("audit") {
        audit::measure(options.rows, &mut report).await?;
    }
    report.end()
}
