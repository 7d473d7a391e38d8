//! Starts the order service; `--help` lists its configuration.

use std::process::ExitCode;

use order::{Config, run_until_stopped};
use quadrille_process::{about, run};

fn main() -> ExitCode {
    run(about!("ORDER"), Config::read, run_until_stopped)
}
