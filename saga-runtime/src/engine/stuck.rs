//! What passes only when a person mends it: as long as it lasts, a check of the process is down.

use std::sync::{Mutex, MutexGuard, PoisonError};

use quadrille_process::{Health, Status};

/// Whether what is decided can be written.
pub(crate) const CHECK: &str = "decisions";

/// The batches of an engine that do not get on.
#[derive(Debug)]
pub(crate) struct Stuck {
    health: Health,
    now: Mutex<usize>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held<'s>(&'s Stuck);

impl Stuck {
    pub(crate) fn new(health: Health) -> Self {
        Self {
            health,
            now: Mutex::new(0),
        }
    }

    /// One more does not get on.
    pub(crate) fn hold(&self) -> Held<'_> {
        *self.lock() += 1;
        Held(self)
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held<'_> {
    /// It still does not, and why.
    pub(crate) fn because(&self, why: String) {
        self.0.health.set(CHECK, Status::Down(why));
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Under the lock, so that nobody who begins meanwhile is overruled.
        let mut now = self.0.lock();
        *now -= 1;
        if *now == 0 {
            self.0.health.set(CHECK, Status::Up);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_that_gets_on_brings_the_check_up() {
        let health = Health::new();
        let up = || health.report().checks[CHECK].status == Status::Up;
        let stuck = Stuck::new(health.clone());
        let (one, other) = (stuck.hold(), stuck.hold());
        one.because("a".to_owned());
        other.because("b".to_owned());
        drop(one);
        assert!(!up());
        drop(other);
        assert!(up());
    }
}
