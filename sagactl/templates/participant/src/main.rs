//! Starts newcomer; `--help` lists its configuration.

use std::process::ExitCode;

use newcomer::participant::Newcomer;
use newcomer::{Config, run_until_stopped};
use quadrille_process::{about, run};

/// librdkafka frees in one thread what it allocated in another, which the C library's allocator does not take well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = saga_runtime::replay::if_asked(&Newcomer::default()) {
        return code;
    }
    run(about!("NEWCOMER"), Config::read, run_until_stopped)
}
