//! Starts the payment service; `--help` lists its configuration.

use std::process::ExitCode;

use payment::{Config, run_until_stopped};
use quadrille_process::{about, run};

fn main() -> ExitCode {
    run(about!("PAYMENT"), Config::read, run_until_stopped)
}
