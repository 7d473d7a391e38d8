//! Starts the payment sandbox; `--help` lists its configuration.

use std::process::ExitCode;

use payment_sandbox::{Config, run_until_stopped};
use quadrille_process::{about, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run(about!("SANDBOX"), Config::read, run_until_stopped)
}
