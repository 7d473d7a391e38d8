//! Starts the product service; `--help` lists its configuration.

use std::process::ExitCode;

use product::{Config, run_until_stopped};
use quadrille_process::{about, run};

fn main() -> ExitCode {
    run(about!("PRODUCT"), Config::read, run_until_stopped)
}
