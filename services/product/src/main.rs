//! Starts the product service; `--help` lists its configuration.

use std::process::ExitCode;

use product::{Config, run_until_stopped};
use quadrille_process::{about, run};

/// librdkafka frees in one thread what it allocated in another, which the C library's allocator does not take well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run(about!("PRODUCT"), Config::read, run_until_stopped)
}
