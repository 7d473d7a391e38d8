//! Starts the order service; `--help` lists its configuration.

use std::process::ExitCode;

use order::participant::Orders;
use order::{Config, run_until_stopped};
use quadrille_process::{about, run};

/// librdkafka frees in one thread what it allocated in another, which the C library's allocator does not take well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = saga_runtime::replay::if_asked(&Orders::default()) {
        return code;
    }
    run(about!("ORDER"), Config::read, run_until_stopped)
}
