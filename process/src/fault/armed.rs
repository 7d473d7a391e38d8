use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{About, Injected, Kind, Point, UnknownPoint};

const VARIABLE: &str = "QUADRILLE_FAULTS";

static ARMED: LazyLock<Mutex<HashMap<String, Armed>>> = LazyLock::new(|| Mutex::new(from_environment()));

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    kind: Kind,
    /// Of a delay.
    wait: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Armed {
    fault: Fault,
    /// The hit at which it happens; `None`: at every hit.
    at: Option<u64>,
    hits: u64,
}

/// A fault that cannot be armed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It cannot be read.
    #[error("'{0}' is no fault; expected abort, error, lost or delay:MS, with @N for the N-th hit only")]
    Fault(String),
    /// There is no such point.
    #[error(transparent)]
    Point(#[from] UnknownPoint),
    /// It makes no sense there.
    #[error("{point} knows no {}", .kind.name())]
    NotThere {
        /// Where.
        point: Point,
        /// What.
        kind: Kind,
    },
}

/// Arms a point: `arm("engine::after_commit", "delay:50@2")`; or only for passages of somebody:
/// `arm("relay::before_rotate/pod-7", "abort")`.
///
/// # Errors
/// [`Malformed`].
pub fn arm(name: &str, fault: &str) -> Result<(), Malformed> {
    let armed = read(name, fault)?;
    lock().insert(name.to_owned(), armed);
    Ok(())
}

/// Disarms a point.
pub fn disarm(name: &str) {
    lock().remove(name);
}

/// How often a point was passed since it was armed: what a test waits for.
pub fn hits(name: &str) -> u64 {
    lock().get(name).map_or(0, |armed| armed.hits)
}

pub(super) fn hit(point: Point, about: &[About]) -> Option<Fault> {
    let mut armed = lock();
    if armed.is_empty() {
        return None;
    }
    let owned = about.iter().map(|about| format!("{point}/{}", about.key));
    let mut found = None;
    for name in std::iter::once(point.to_string()).chain(owned) {
        if let Some(armed) = armed.get_mut(&name) {
            armed.hits += 1;
            if armed.at.is_none_or(|at| at == armed.hits) {
                found = found.or(Some(armed.fault));
            }
        }
    }
    found
}

/// All of them at once: a crash needs no other; the longest delay is long enough for each.
pub(super) async fn happen(point: Point, faults: Vec<Fault>) -> Result<(), Injected> {
    if faults.iter().any(|fault| fault.kind == Kind::Crash) {
        eprintln!("fault point {point}: abort");
        std::process::abort();
    }
    let longest = faults.iter().map(|fault| fault.wait).max().unwrap_or_default();
    if !longest.is_zero() {
        tokio::time::sleep(longest).await;
    }
    if faults
        .iter()
        .any(|fault| matches!(fault.kind, Kind::Error | Kind::LostAnswer))
    {
        return Err(Injected(point));
    }
    Ok(())
}

/// A fault that the point can have.
pub(super) fn fault_of(point: Point, text: &str) -> Result<Fault, Malformed> {
    let fault: Fault = text.parse()?;
    if point.faults().contains(&fault.kind) {
        Ok(fault)
    } else {
        let kind = fault.kind;
        Err(Malformed::NotThere { point, kind })
    }
}

impl FromStr for Fault {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (kind, wait) = match text.split_once(':') {
            None if text == "abort" => (Kind::Crash, Some(0)),
            None if text == "error" => (Kind::Error, Some(0)),
            None if text == "lost" => (Kind::LostAnswer, Some(0)),
            Some(("delay", ms)) => (Kind::Delay, ms.parse().ok()),
            _ => (Kind::Delay, None),
        };
        let wait = wait.ok_or_else(|| Malformed::Fault(text.to_owned()))?;
        let wait = Duration::from_millis(wait);
        Ok(Self { kind, wait })
    }
}

/// `engine::after_commit[/whose]`, and `abort[@3]`.
fn read(name: &str, fault: &str) -> Result<Armed, Malformed> {
    let point: Point = name.split_once('/').map_or(name, |(point, _)| point).parse()?;
    let (text, at) = match fault.split_once('@') {
        Some((text, at)) => {
            let at = at.parse().map_err(|_| Malformed::Fault(fault.to_owned()))?;
            (text, Some(at))
        }
        None => (fault, None),
    };
    let fault = fault_of(point, text)?;
    Ok(Armed { fault, at, hits: 0 })
}

fn from_environment() -> HashMap<String, Armed> {
    let value = std::env::var(VARIABLE).unwrap_or_default();
    value
        .split(',')
        .filter_map(|one| one.split_once('='))
        .filter_map(|(name, fault)| match read(name.trim(), fault) {
            Ok(armed) => Some((name.trim().to_owned(), armed)),
            Err(error) => {
                tracing::error!(name, %error, "ignored a fault that cannot be armed");
                None
            }
        })
        .collect()
}

fn lock() -> MutexGuard<'static, HashMap<String, Armed>> {
    ARMED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::reach;
    use super::*;

    #[tokio::test]
    async fn a_fault_happens_at_its_hit_only() {
        let fails = async |whose: &str| {
            let about = || vec![About::new(whose, "x")];
            reach(Point::TimerBeforeFire, about).await.is_err()
        };
        arm("timer::before_fire/one", "error@2").expect("well formed");
        assert_eq!(
            [fails("one").await, fails("one").await, fails("one").await],
            [false, true, false]
        );
        assert!(!fails("another").await);
        assert_eq!(hits("timer::before_fire/one"), 3);
        arm("timer::before_fire/always", "error").expect("well formed");
        assert!(fails("always").await && fails("always").await);
        disarm("timer::before_fire/always");
        assert!(!fails("always").await);
    }

    #[test]
    fn a_fault_that_cannot_be_armed_is_refused() {
        for wrong in ["", "explode", "delay", "delay:soon", "abort@first"] {
            let refused = arm("engine::after_commit", wrong);
            assert!(
                matches!(refused, Err(Malformed::Fault(_))),
                "{wrong}: {refused:?}"
            );
        }
        assert!(matches!(
            arm("engine::nowhere", "abort"),
            Err(Malformed::Point(_))
        ));
        let refused = arm("engine::before_commit", "lost");
        assert!(
            matches!(refused, Err(Malformed::NotThere { .. })),
            "nothing was done that could be lost"
        );
    }
}
