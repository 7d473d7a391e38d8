use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Misbehaviour that a test asks for: it hits the next so many calls that it fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    #[serde(flatten)]
    pub(crate) kind: FaultKind,
    /// How many calls are hit; counts down.
    #[serde(default = "one")]
    pub(crate) calls: u32,
    /// Only calls of this operation; without it, of each.
    #[serde(default)]
    pub(crate) operation: Option<Operation>,
    /// Only calls with this reference; without it, with any.
    #[serde(default)]
    pub(crate) reference: Option<String>,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub(crate) enum FaultKind {
    /// Answered with this status; nothing is done.
    Refuse {
        #[serde(default = "unavailable")]
        status: u16,
    },
    /// Done; then the connection breaks before the answer.
    LoseAnswer,
    /// Done, after so long.
    Delay { delay_ms: u64 },
}

/// An operation of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    Charge,
    GetCharge,
    Refund,
    GetRefund,
    OpenPage,
    GetPage,
    ClosePage,
}

/// The faults that are left.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// So that calls take no lock where nobody asked for faults.
    any: AtomicBool,
    left: Mutex<Vec<Fault>>,
}

impl Faults {
    /// So many at most; a test that wants more has lost count.
    pub(crate) const BOUND: usize = 10_000;

    /// Adds one. `false`: there are too many already.
    pub(crate) fn add(&self, fault: Fault) -> bool {
        let mut left = self.lock();
        if left.len() >= Self::BOUND {
            return false;
        }
        if fault.calls > 0 {
            left.push(fault);
            self.any.store(true, Ordering::Release);
        }
        true
    }

    /// Those that have not hit all their calls yet.
    pub(crate) fn list(&self) -> Vec<Fault> {
        self.lock().clone()
    }

    /// Removes all of them.
    pub(crate) fn clear(&self) {
        self.lock().clear();
        self.any.store(false, Ordering::Release);
    }

    /// The first fault that fits this call, which it hits thereby.
    pub(crate) fn hit(&self, operation: Operation, reference: &str) -> Option<FaultKind> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut left = self.lock();
        let index = left.iter().position(|fault| {
            fault.operation.is_none_or(|wanted| wanted == operation)
                && fault
                    .reference
                    .as_deref()
                    .is_none_or(|wanted| wanted == reference)
        })?;
        let kind = left[index].kind;
        left[index].calls -= 1;
        if left[index].calls == 0 {
            left.remove(index);
            self.any.store(!left.is_empty(), Ordering::Release);
        }
        Some(kind)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn one() -> u32 {
    1
}

fn unavailable() -> u16 {
    503
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_what_it_fits_and_no_more() {
        let faults = Faults::default();
        let fault = r#"{"fault": "refuse", "calls": 2, "operation": "refund", "reference": "order-1"}"#;
        assert!(faults.add(serde_json::from_str(fault).unwrap()));
        assert_eq!(faults.hit(Operation::Charge, "order-1"), None);
        assert_eq!(faults.hit(Operation::Refund, "order-2"), None);
        let refused = Some(FaultKind::Refuse { status: 503 });
        assert_eq!(faults.hit(Operation::Refund, "order-1"), refused);
        assert_eq!(faults.hit(Operation::Refund, "order-1"), refused);
        assert_eq!(faults.hit(Operation::Refund, "order-1"), None);
    }
}
