//! Starts inventory; `--help` lists its configuration.

use std::process::ExitCode;

use inventory::participant::Inventory;
use inventory::{Config, run_until_stopped};
use quadrille_process::{about, run};

/// librdkafka frees in one thread what it allocated in another, which the C library's allocator does not take well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = saga_runtime::replay::if_asked(&Inventory::default()) {
        return code;
    }
    run(about!("INVENTORY"), Config::read, run_until_stopped)
}
