//! `just chaos`: a long load of orders, everything breaks meanwhile, and an accountant at the end.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use failure_tests::chaos::{self, Options};
use failure_tests::system::PROGRAMS;
use local_stack::{Checkout, Programs};

/// A long load of orders through gRPC; meanwhile programs, servers, lines and clocks break as the seed says.
///
/// It brings its own PostgreSQL and Kafka. A million sagas take some hours and 15 GB of disk on two cores.
#[derive(Debug, Parser)]
#[command(
    name = "chaos",
    after_help = "The last line is `S sagas, F faults, V violations`. Exit code 1 if there are violations. Needs Linux: clocks jump there alone."
)]
struct Arguments {
    /// How many orders.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    sagas: u32,
    /// What faults and orders are drawn from; drawn itself if it is not said.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// How many faults; in proportion to the orders if it is not said.
    #[arg(long, value_name = "F")]
    faults: Option<usize>,
    /// How many order at the same time.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    shoppers: u16,
    /// Programs as in tests, with fault points, instead of released ones.
    #[arg(long)]
    debug: bool,
    /// A folder with programs that are built already.
    #[arg(long, value_name = "DIR", conflicts_with = "debug")]
    programs: Option<PathBuf>,
    /// Prints the schedule and does nothing else.
    #[arg(long)]
    schedule: bool,
    /// Writes docs/chaos.md.
    #[arg(long)]
    report: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut options = Options {
        sagas: arguments.sagas.try_into()?,
        seed: arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
        faults: arguments.faults,
        shoppers: arguments.shoppers.into(),
        finished: None,
    };
    if arguments.schedule {
        println!("seed {}", options.seed);
        print!("{}", options.schedule());
        return Ok(ExitCode::SUCCESS);
    }
    options.finished = match arguments.programs {
        _ if arguments.debug => None,
        Some(folder) => Some(folder),
        None => Some(released()?),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let outcome = runtime.block_on(chaos::run(&options))?;
    let wrong = outcome.wrong();
    for one in wrong.iter().take(100) {
        println!("{one}");
    }
    print!("{}", outcome.summary());
    if arguments.report {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/chaos.md");
        std::fs::write(&file, outcome.page()).with_context(|| format!("write {}", file.display()))?;
        println!("written: docs/chaos.md");
    }
    println!("{}", outcome.sum());
    Ok(if wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The folder with the programs as they are released, built if they are not.
fn released() -> Result<PathBuf> {
    let checkout = Checkout::find()?;
    let programs = Programs::find(&checkout, true)?;
    let names: Vec<&'static str> = PROGRAMS.iter().copied().chain(["sagactl"]).collect();
    programs.build(&checkout, &names)?;
    Ok(programs.folder().to_owned())
}
