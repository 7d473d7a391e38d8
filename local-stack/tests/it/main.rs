//! Real servers, started, stopped, killed and frozen.
#![allow(clippy::unwrap_used)]

/// A stack of one's own and what may be done to it.
mod private_stack;

/// The stack for people: a second `up` is harmless, `down` leaves nothing running, `reset` leaves nothing at all.
mod up_and_down;

/// Services: built, started, killed, started again.
mod services;

/// The health checks of containers, asked of the same servers as processes.
mod containers;

/// A checkout of its own for a test.
mod checkout;

/// The program that runs a command with servers for tests.
mod with_test_stack;

use std::time::{Duration, Instant};

/// Waits until a condition holds, at most for half a minute.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "{what}: not within 30 s"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
