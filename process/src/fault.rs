//! Named points at which a test makes a process crash, fail or wait.
//!
//! Without the feature `fault-points` a point is nothing at all. With it, a point is armed by the
//! environment, `QUADRILLE_FAULTS="engine::after_commit=abort@3,relay::after_produce=delay:500"`, or from a
//! test in the same process with `arm`:
//!
//! * `abort`: the process ends at once, as `kill -9` would end it;
//! * `delay:MS`: the point is reached, and left so many milliseconds later;
//! * `error`: [`failing`](crate::fault::failing) says yes, and [`reach`](crate::fault::reach) fails.
//!
//! `@N` is the hit at which it happens, once; without it, at every hit.

/// Passes a point at which a process may crash or wait.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub async fn point(_name: &str) {}

/// Whether points can be armed in this build.
pub const POSSIBLE: bool = cfg!(feature = "fault-points");

/// A point was armed with `error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fault point {0} is armed")]
pub struct Injected(pub String);

/// Passes a point at which a process may crash, wait or fail.
///
/// # Errors
/// [`Injected`] if the point is armed with `error`.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub async fn reach(_name: &str) -> Result<(), Injected> {
    Ok(())
}

/// How often a point that is armed was passed.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn hits(_name: &str) -> u64 {
    0
}

/// Whether something is to fail at this point.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn failing(_name: &str) -> bool {
    false
}

#[cfg(feature = "fault-points")]
pub use armed::{Fault, Malformed, arm, disarm, failing, hits, point, reach};

#[cfg(feature = "fault-points")]
mod armed {
    use std::collections::HashMap;
    use std::str::FromStr;
    use std::sync::{LazyLock, Mutex, PoisonError};
    use std::time::Duration;

    use super::Injected;

    const VARIABLE: &str = "QUADRILLE_FAULTS";

    static ARMED: LazyLock<Mutex<HashMap<String, Armed>>> = LazyLock::new(|| Mutex::new(from_environment()));

    /// What happens at a point.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Fault {
        /// The process ends at once.
        Abort,
        /// It waits.
        Delay(Duration),
        /// [`failing`] says yes.
        Error,
    }

    #[derive(Clone, Copy, Debug)]
    struct Armed {
        fault: Fault,
        /// The hit at which it happens; `None`: at every hit.
        at: Option<u64>,
        hits: u64,
    }

    /// A fault that cannot be read.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    #[error("'{0}' is no fault; expected abort, error or delay:MS, with @N for the N-th hit only")]
    pub struct Malformed(String);

    /// Passes a point at which a process may crash or wait.
    pub async fn point(name: &str) {
        // Who cannot fail here passes.
        reach(name).await.ok();
    }

    /// Passes a point at which a process may crash, wait or fail.
    ///
    /// # Errors
    /// [`Injected`] if the point is armed with `error`.
    pub async fn reach(name: &str) -> Result<(), Injected> {
        match hit(name) {
            Some(Fault::Abort) => {
                eprintln!("fault point {name}: abort");
                std::process::abort();
            }
            Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
            Some(Fault::Error) => return Err(Injected(name.to_owned())),
            None => {}
        }
        Ok(())
    }

    /// Whether something is to fail at this point.
    pub fn failing(name: &str) -> bool {
        hit(name) == Some(Fault::Error)
    }

    /// Arms a point: `arm("engine::after_commit", "delay:50@2")`.
    ///
    /// # Errors
    /// [`Malformed`] if the fault is not of the form above.
    pub fn arm(name: &str, fault: &str) -> Result<(), Malformed> {
        let armed = fault.parse()?;
        ARMED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), armed);
        Ok(())
    }

    /// Disarms a point.
    pub fn disarm(name: &str) {
        ARMED.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// How often a point was passed since it was armed: what a test waits for.
    pub fn hits(name: &str) -> u64 {
        ARMED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .map_or(0, |armed| armed.hits)
    }

    fn hit(name: &str) -> Option<Fault> {
        let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
        let point = armed.get_mut(name)?;
        point.hits += 1;
        match point.at {
            None => Some(point.fault),
            Some(at) => (at == point.hits).then_some(point.fault),
        }
    }

    impl FromStr for Armed {
        type Err = Malformed;

        fn from_str(text: &str) -> Result<Self, Malformed> {
            let malformed = || Malformed(text.to_owned());
            let (fault, at) = match text.split_once('@') {
                Some((fault, at)) => (fault, Some(at.parse().map_err(|_| malformed())?)),
                None => (text, None),
            };
            let fault = match fault.split_once(':') {
                None if fault == "abort" => Fault::Abort,
                None if fault == "error" => Fault::Error,
                Some(("delay", ms)) => {
                    Fault::Delay(Duration::from_millis(ms.parse().map_err(|_| malformed())?))
                }
                _ => return Err(malformed()),
            };
            Ok(Armed { fault, at, hits: 0 })
        }
    }

    fn from_environment() -> HashMap<String, Armed> {
        let value = std::env::var(VARIABLE).unwrap_or_default();
        value
            .split(',')
            .filter_map(|one| one.split_once('='))
            .filter_map(|(name, fault)| match fault.parse() {
                Ok(armed) => Some((name.trim().to_owned(), armed)),
                Err(error) => {
                    tracing::error!(name, %error, "ignored a fault point that cannot be read");
                    None
                }
            })
            .collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_fault_happens_at_its_hit_only() {
            arm("test::third", "error@3").expect("well formed");
            assert_eq!(
                [1, 2, 3, 4].map(|_| failing("test::third")),
                [false, false, true, false]
            );
            arm("test::always", "error").expect("well formed");
            assert!(failing("test::always") && failing("test::always"));
            disarm("test::always");
            assert!(!failing("test::always"));
            assert!(!failing("test::unknown"));
        }

        #[test]
        fn a_fault_that_cannot_be_read_is_refused() {
            for wrong in ["", "explode", "delay", "delay:soon", "abort@first"] {
                assert!(arm("test::wrong", wrong).is_err(), "{wrong}");
            }
        }
    }
}
