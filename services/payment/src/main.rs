//! Starts the payment service; `--help` lists its configuration.

use std::process::ExitCode;

use payment::participant::Payments;
use payment::{Config, run_until_stopped};
use quadrille_process::{about, run};

/// librdkafka frees in one thread what it allocated in another, which the C library's allocator does not take well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = saga_runtime::replay::if_asked(&Payments::default()) {
        return code;
    }
    run(about!("PAYMENT"), Config::read, run_until_stopped)
}
