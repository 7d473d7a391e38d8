//! The program behind `just up`, `just down` and `just test`.
#![forbid(unsafe_code)]

/// Runs a command with servers for tests.
mod with_test_stack;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use local_stack::StackError;

/// PostgreSQL, Kafka, Redis and the services of Quadrille on this machine.
#[derive(Debug, Parser)]
#[command(name = "local-stack", version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
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
