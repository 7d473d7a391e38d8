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

use std::process::ExitCode;

use quadrille_process::config::Env;
use quadrille_process::{about, run_with, tls};

/// librdkafka frees in one thread what it allocated in another, which the C library's allocator does not
/// take well.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const VERBS: &str = "\
usage: outbox-relay [run|check|status|drain|grow|migrate] [--help|--version]

  run      publishes the outboxes of RELAY_SOURCES until it is told to stop (the default)
  check    looks whether it could: servers, rights, topics, limits, clocks; says what is wrong and how to mend it
  status   shows how each outbox of RELAY_SOURCES is
  drain    publishes until the outboxes are empty, or RELAY_DRAIN_WITHIN_MS (600000) are over, and ends
  grow     spreads the keys of a topic over more partitions, in order; see outbox-relay grow --help
  migrate  brings the outboxes of RELAY_MIGRATE_SOURCES up to date, as the roles that own them
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    match arguments.peek().map(String::as_str) {
        Some("check") => once(config::Config::read, check::check),
        Some("drain") => once(config::Draining::read, drain::drain),
        Some("status") => once(config::sources, status::show),
        Some("grow") => grow(arguments.skip(1)),
        Some("migrate") => once(config::migrate_sources, migrate::migrate),
        other => {
            if matches!(other, Some("--help" | "-h")) {
                println!("{VERBS}");
            }
            let verb = other == Some("run");
            run_with(
                about!("RELAY"),
                arguments.skip(usize::from(verb)),
                config::Config::read,
                serve::serve,
            )
        }
    }
}

const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;

/// The only verb that is told something on the command line.
fn grow(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        print!("{}", grow::USAGE);
        return ExitCode::SUCCESS;
    }
    match grow::Wish::parse(arguments.into_iter()) {
        Ok(wish) => once(config::Config::read, |config| grow::grow(config, wish)),
        Err(wrong) => {
            eprintln!("outbox-relay grow: {wrong}\n{}", grow::USAGE);
            ExitCode::from(USAGE)
        }
    }
}

/// A verb that does its work and ends.
fn once<T, F>(read: fn(&mut Env) -> Option<T>, work: impl FnOnce(T) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<ExitCode>>,
{
    let config = match Env::from_process("RELAY").build(read) {
        Ok(config) => config,
        Err(invalid) => {
            eprintln!("outbox-relay: the configuration is wrong\n{invalid}");
            return ExitCode::from(USAGE);
        }
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
