//! The program behind `just up`, `just down` and `just test`.
#![forbid(unsafe_code)]

/// `up`, `status`, `logs` and the others for people.
mod verbs;

/// Runs a command with servers for tests.
mod with_test_stack;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use local_stack::{StackError, Wishes};

/// PostgreSQL, Kafka, Redis and the services of Quadrille on this machine.
#[derive(Debug, Parser)]
#[command(name = "local-stack", version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Starts everything that does not run yet and says what runs where.
    Up {
        /// Build and run the services with optimisation.
        #[arg(long)]
        release: bool,
        /// No containers, even if a Docker engine answers.
        #[arg(long)]
        native: bool,
        /// Only databases and broker; no build, no services.
        #[arg(long)]
        servers_only: bool,
    },
    /// Stops everything. Data stays.
    Down,
    /// Stops everything and removes the data.
    Reset,
    /// Says what runs where; exit code 1 if something is down.
    Status,
    /// Shows logs, of everything or of one part.
    Logs {
        /// A server or a service.
        part: Option<String>,
        /// Goes on showing what is added.
        #[arg(short, long)]
        follow: bool,
        /// How many lines of each log to begin with.
        #[arg(short = 'n', long, default_value_t = 50)]
        lines: u32,
    },
    /// Prints the stack's addresses as `export` lines: eval "$(local-stack env)".
    Env,
    /// Runs a command that finds the stack's addresses in its environment and the services' programs on its PATH.
    Run {
        /// The command and its arguments, after `--`.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// Starts one server or service and waits until it is ready.
    Start {
        /// Which.
        part: String,
    },
    /// Stops one server or service and starts it again.
    Restart {
        /// Which.
        part: String,
    },
    /// Sends SIGTERM to one server or service, or SIGKILL.
    Kill {
        /// Which.
        part: String,
        /// SIGKILL: it gets no chance to clean up.
        #[arg(short = '9')]
        nine: bool,
    },
    /// Starts PostgreSQL and Kafka for tests, runs a command, and removes them.
    ///
    /// The command finds them in QUADRILLE_TEST_POSTGRES_URL and QUADRILLE_TEST_KAFKA_BROKERS. If both are set already,
    /// nothing is started. The exit code is that of the command.
    WithTestStack {
        /// The command and its arguments, after `--`.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<std::ffi::OsString>,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::Up {
            release,
            native,
            servers_only,
        } => verbs::up(Wishes { release, native }, servers_only),
        Verb::Down => verbs::down(),
        Verb::Reset => verbs::reset(),
        Verb::Status => verbs::status(),
        Verb::Logs { part, follow, lines } => verbs::logs(part.as_deref(), follow, lines),
        Verb::Env => verbs::env(),
        Verb::Run { command } => verbs::run(&command),
        Verb::Start { part } => verbs::start(&part),
        Verb::Restart { part } => verbs::restart(&part),
        Verb::Kill { part, nine } => verbs::kill(&part, nine),
        Verb::WithTestStack { command } => with_test_stack::run(&command),
    };
    result.unwrap_or_else(|error| {
        eprintln!("local-stack: {error:#}");
        let code = error
            .downcast_ref::<StackError>()
            .map_or(70, StackError::exit_code);
        ExitCode::from(code)
    })
}
