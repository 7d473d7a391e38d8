use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::watch;

use crate::chaos::schedule::Planned;

/// Orders may be so far ahead of a fault that has not begun.
const AHEAD: usize = 64;
/// Orders of each shopper that have not ended; who would make it more waits.
const OPEN_MAX: usize = 8;
/// A load that stands still for so long does so for ever.
const STANDSTILL: Duration = Duration::from_secs(240);

/// How far the load is and how far it may go: the schedule counts orders, and the load does not run away from it.
#[derive(Debug)]
pub(crate) struct Pace {
    taken: watch::Sender<usize>,
    allowed: watch::Sender<usize>,
    open: watch::Sender<usize>,
    open_max: usize,
    /// The moments of all faults, with whether they have begun.
    moments: Mutex<Vec<(usize, bool)>>,
}

impl Pace {
    pub(crate) fn new(faults: &[Planned], shoppers: usize) -> Self {
        let pace = Self {
            taken: watch::Sender::new(0),
            allowed: watch::Sender::new(0),
            open: watch::Sender::new(0),
            open_max: shoppers * OPEN_MAX,
            moments: Mutex::new(faults.iter().map(|planned| (planned.after, false)).collect()),
        };
        pace.allow();
        pace
    }

    /// An order was taken.
    pub(crate) fn took(&self) {
        self.taken.send_modify(|taken| *taken += 1);
    }

    /// How many were.
    pub(crate) fn taken(&self) -> usize {
        *self.taken.borrow()
    }

    /// So many have not ended.
    pub(crate) fn are_open(&self, open: usize) {
        self.open.send_replace(open);
    }

    /// How many have not.
    pub(crate) fn open(&self) -> usize {
        *self.open.borrow()
    }

    /// A fault, by its number, has begun.
    pub(crate) fn begins(&self, fault: usize) {
        if let Some(moment) = self.lock().get_mut(fault) {
            moment.1 = true;
        }
        self.allow();
    }

    /// Waits until so many orders were taken.
    pub(crate) async fn until_taken(&self, orders: usize) {
        // The sender is ours.
        drop(self.taken.subscribe().wait_for(|taken| *taken >= orders).await);
    }

    /// Waits until this order may be placed.
    pub(crate) async fn until_allowed(&self, number: usize) -> Result<()> {
        let (mut allowed, mut open) = (self.allowed.subscribe(), self.open.subscribe());
        let both = async {
            drop(allowed.wait_for(|allowed| *allowed > number).await);
            drop(open.wait_for(|open| *open < self.open_max).await);
        };
        if tokio::time::timeout(STANDSTILL, both).await.is_err() {
            bail!(
                "the load stands still at order {number}: {} are open, and do not end",
                self.open()
            );
        }
        Ok(())
    }

    fn allow(&self) {
        let next = self
            .lock()
            .iter()
            .find(|(_, begun)| !begun)
            .map(|(after, _)| *after);
        let allowed = next.map_or(usize::MAX, |after| after + AHEAD);
        self.allowed.send_replace(allowed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(usize, bool)>> {
        self.moments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::chaos::fault::Fault;

    #[tokio::test]
    async fn the_load_waits_for_the_first_fault_that_has_not_begun() {
        let at = |after| Planned {
            after,
            fault: Fault::FreezeBroker { ms: 1 },
        };
        let pace = Pace::new(&[at(10), at(20)], 2);
        let may = |number| pace.until_allowed(number).now_or_never().is_some();
        assert!(may(10 + AHEAD - 1) && !may(10 + AHEAD));
        pace.begins(1);
        assert!(!may(10 + AHEAD), "the first has not");
        pace.begins(0);
        assert!(may(1_000_000));
        pace.are_open(2 * OPEN_MAX);
        assert!(!may(0));
    }

    #[test]
    fn a_fault_waits_for_its_orders() {
        let pace = Pace::new(&[], 1);
        let reached = |orders| pace.until_taken(orders).now_or_never().is_some();
        assert!(reached(0) && !reached(1));
        pace.took();
        assert!(reached(1) && !reached(2));
    }
}
