//! Writers of every bad habit, relays and servers that crash, and a checker that reads what comes of it, for as many
//! events as one likes: `just soak relay --events 10000000`. `cargo test` runs a short form.
//!
//! Relays are processes, killed with SIGKILL and frozen with SIGSTOP; PostgreSQL and the broker are real and crash, too.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

/// What is asked for.
mod options;

/// Databases and topics, as in the other tests.
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with the other tests, which use all of it")]
mod support;

/// Transactions of every kind, over a database that crashes.
mod writers;

/// Relays that are killed and frozen, servers that crash.
mod faults;

/// Who has parked events sent again.
mod operator;

/// What consumers see, in bounded memory.
mod checker;

/// Which of them have come.
mod versions;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use local_stack::TestStack;

use checker::{Checker, Verdict};
use faults::{Faults, Relays};
use operator::Operator;
use options::Options;
use support::Outbox;
use writers::{Progress, Writers};

const PARTITIONS: i32 = 12;
/// What the checker has read need not be kept. When the broker wrote a record tells what a violation came of.
const TOPIC: [(&str, &str); 3] = [
    ("retention.ms", "600000"),
    ("segment.ms", "60000"),
    ("message.timestamp.type", "LogAppendTime"),
];

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("soak: {problem}\n\n{}", options::USAGE);
            return ExitCode::from(64);
        }
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match runtime.block_on(soak(options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn soak(options: Options) -> Result<bool> {
    println!(
        "soak: {} events, seed {} (--seed {} repeats it)",
        options.events, options.seed, options.seed
    );
    let began = Instant::now();
    let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("soak-{}", options.seed));
    std::fs::remove_dir_all(&logs).ok();
    std::fs::create_dir_all(&logs)?;
    println!(
        "soak: logs of the relays, and when what went wrong: {}",
        logs.display()
    );
    let stack = Arc::new(tokio::task::spawn_blocking(TestStack::private).await??);
    let outbox = Outbox::on(stack.addresses()).await?;
    // What the checker has read need not be kept.
    let topic = outbox.create_topic("events", PARTITIONS, &TOPIC).await?;
    let progress = Arc::new(Progress::default());
    let checker = Checker::start(&outbox, &topic, PARTITIONS, progress.clone())?;
    let relays = Relays::start(&outbox, &logs, options)?;
    let writers = Writers::new(&outbox, &topic, options, progress.clone());
    writers.prepare().await?;
    let _operator = Operator::start(&outbox, progress.clone());
    let faults = Faults::new(stack.clone(), (relays, &topic), options)?.keep_coming(progress.clone());

    let telling = tokio::spawn(tell(progress.clone(), options.events, began));
    let expected = writers.write().await.context("writing")?;
    progress.written_all.store(true, Ordering::Release);
    let (_relays, injected) = faults.await?.context("injecting faults")?;
    let verdict = checker.finish(&expected).await?;
    telling.abort();
    println!(
        "soak: {} parked keys were sent again",
        progress.replays.load(Ordering::Relaxed)
    );
    report(&verdict, &injected, began.elapsed());
    Ok(verdict.holds())
}

async fn tell(progress: Arc<Progress>, events: u64, began: Instant) {
    let mut every = tokio::time::interval(Duration::from_secs(10));
    every.tick().await;
    loop {
        every.tick().await;
        println!(
            "soak: {} of {events} events written, {} checked, {} faults, {} s",
            progress.written.load(Ordering::Relaxed),
            progress.checked.load(Ordering::Relaxed),
            progress.faults.load(Ordering::Relaxed),
            began.elapsed().as_secs(),
        );
    }
}

fn report(verdict: &Verdict, injected: &[(&'static str, u32)], took: Duration) {
    let faults: u32 = injected.iter().map(|(_, count)| count).sum();
    let kinds: Vec<String> = injected
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    println!("soak: faults: {}", kinds.join(", "));
    println!(
        "soak: {} events in {} s, {faults} faults, {} known duplicates, {} lost, {} violations of order",
        verdict.events,
        took.as_secs(),
        verdict.duplicates,
        verdict.lost,
        verdict.violations.len(),
    );
}
