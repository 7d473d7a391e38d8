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

use std::fmt::Debug;
use std::time::{Duration, Instant};

use checkout::{Checkout, said};

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until a condition holds.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(
            begin.elapsed() < PATIENCE,
            "{what}: not within {} s",
            PATIENCE.as_secs()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks until the answer is this one: a single question may come while a machine is busy.
fn eventually_is<T: PartialEq + Debug>(wanted: T, mut ask: impl FnMut() -> T) {
    let begin = Instant::now();
    loop {
        let answer = ask();
        if answer == wanted {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{answer:?} and not {wanted:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until `status` says that everything is up.
fn comes_to_be_well(checkout: &Checkout) {
    let status = || {
        let output = checkout.local_stack(&["status"]).unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(said(&output))
        }
    };
    eventually_is(Ok(()), status);
}
