//! The relay as a process of its own, for one or many outboxes.

#![forbid(unsafe_code)]

/// What it is configured with.
mod config;

/// `run`.
mod serve;

/// Hears writers that ring.
mod doorbell;

/// `check`.
mod check;

/// `status`.
mod status;

/// `drain`.
mod drain;

/// `grow`.
mod grow;

/// `migrate`.
mod migrate;

/// What is said of them.
mod verb;

use std::process::ExitCode;

use quadrille_process::config::Env;
use quadrille_process::{about, run_with, tls};

use verb::Verb;

/// librdkafka frees in one thread what it allocated in another, which neither the C library's allocator nor mimalloc takes
/// well (ADR 14).
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const VERBS: &str = "\
usage: outbox-relay [run|check|status|drain|grow|migrate] [--help|--version]

  run      publishes the outboxes of RELAY_SOURCES until it is told to stop (the default)
  check    looks whether it could: servers, rights, topics, limits, clocks; says what is wrong and how to mend it
  status   shows how each outbox of RELAY_SOURCES is
  drain    publishes until the outboxes are empty, or RELAY_DRAIN_WITHIN_MS (600000) are over, and ends
  grow     spreads the keys of a topic over more partitions, in order
  migrate  brings the outboxes of RELAY_MIGRATE_SOURCES up to date, as the roles that own them

outbox-relay VERB --help shows a verb's exit codes and settings.
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    match arguments.peek().map(String::as_str) {
        Some("run") => {
            let arguments: Vec<String> = arguments.skip(1).collect();
            if verb::asks_for_help(&arguments) {
                println!("{}", verb::RUN.head());
                return run(std::iter::once("--help".to_owned()));
            }
            run(arguments.into_iter())
        }
        Some("check") => once(
            &verb::CHECK,
            arguments.skip(1),
            config::Config::read,
            check::check,
        ),
        Some("drain") => once(
            &verb::DRAIN,
            arguments.skip(1),
            config::Draining::read,
            drain::drain,
        ),
        Some("status") => once(&verb::STATUS, arguments.skip(1), config::sources, status::show),
        Some("grow") => grow(arguments.skip(1)),
        Some("migrate") => once(
            &verb::MIGRATE,
            arguments.skip(1),
            config::migrate_sources,
            migrate::migrate,
        ),
        other => {
            if matches!(other, Some("--help" | "-h")) {
                println!("{VERBS}");
            }
            run(arguments)
        }
    }
}

/// What the names of all settings begin with.
const PREFIX: &str = "RELAY";

const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;

/// The only verb that is a process for good.
fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    run_with(about!("RELAY"), arguments, config::Config::read, serve::serve)
}

/// The only verb that is told something on the command line.
fn grow(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    if verb::asks_for_help(&arguments) {
        return verb::GROW.help(config::Config::read);
    }
    match grow::Wish::parse(arguments.into_iter()) {
        Ok(wish) => to_its_end(&verb::GROW, config::Config::read, |config| {
            grow::grow(config, wish)
        }),
        Err(wrong) => {
            eprintln!("outbox-relay grow: {wrong}\n{}", grow::USAGE);
            ExitCode::from(USAGE)
        }
    }
}

/// A verb that takes no arguments, does its work and ends.
fn once<T, F>(
    verb: &Verb,
    arguments: impl Iterator<Item = String>,
    read: fn(&mut Env) -> Option<T>,
    work: impl FnOnce(T) -> F,
) -> ExitCode
where
    F: Future<Output = anyhow::Result<ExitCode>>,
{
    verb.answer(arguments, read)
        .unwrap_or_else(|| to_its_end(verb, read, work))
}

fn to_its_end<T, F>(verb: &Verb, read: fn(&mut Env) -> Option<T>, work: impl FnOnce(T) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<ExitCode>>,
{
    let config = match Env::from_process(PREFIX).build(read) {
        Ok(config) => config,
        Err(invalid) => return verb.misconfigured(&invalid),
    };
    tls::install_crypto();
    let worked = tokio::runtime::Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(work(config)));
    match worked {
        Ok(code) => code,
        Err(error) => {
            eprintln!("outbox-relay: {error:#}");
            ExitCode::from(UNAVAILABLE)
        }
    }
}
