//! Starts inventory; `--help` lists its configuration.

use std::process::ExitCode;

use inventory::{Config, run_until_stopped};
use quadrille_process::{about, run};

fn main() -> ExitCode {
    run(about!("INVENTORY"), Config::read, run_until_stopped)
}
