//! Points at which a test makes a process crash, fail or wait, and the table of all of them.
//!
//! Without the feature `fault-points` a point is nothing at all. With it, a point is armed in one of three ways:
//!
//! * by the environment, for a whole process and by the number of the hit: `QUADRILLE_FAULTS="engine::after_commit=abort@3"`;
//! * from a test in the same process, with `arm`;
//! * by a file, for one saga, while the process runs: see `drawer`.
//!
//! | fault | what happens |
//! |---|---|
//! | `abort` | the process ends at once, as `kill -9` would end it |
//! | `delay:MS` | the point is reached, and left so many milliseconds later |
//! | `error` | [`reach`](crate::fault::reach) fails: what comes next is not done |
//! | `lost` | [`reach`](crate::fault::reach) fails: what came before was done, and is taken for failed |
//!
//! Which of them a point can have stands in [`Point`](crate::fault::Point); no other can be armed.

mod point;

pub use point::{Kind, Point, Scope, UnknownPoint};

#[cfg(feature = "fault-points")]
mod armed;
#[cfg(feature = "fault-points")]
mod drawer;

#[cfg(feature = "fault-points")]
pub use armed::{Malformed, arm, disarm, hits};

/// Whether points can be armed in this build.
pub const POSSIBLE: bool = cfg!(feature = "fault-points");

/// Whose passage it is: a saga's key, the name of an outbox, of a relay's owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// By which a fault is armed.
    pub key: String,
    /// With what it passes: the name of the input, the kind of the call, the type of the event. Empty if there is
    /// but one way to pass.
    pub occasion: String,
}

impl About {
    /// A saga with an occasion.
    pub fn new(key: impl ToString, occasion: impl Into<String>) -> Self {
        Self {
            key: key.to_string(),
            occasion: occasion.into(),
        }
    }

    /// Somebody for whom each passage is like the other.
    pub fn only(key: impl ToString) -> Self {
        Self::new(key, "")
    }
}

/// A point was armed with `error` or `lost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("fault point {0} is armed")]
pub struct Injected(pub Point);

/// Passes a point at which a process may crash, wait or fail. `about` is not called in a build without points.
///
/// # Errors
/// [`Injected`] if the point is armed with `error` or `lost`.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub async fn reach(_point: Point, _about: impl FnOnce() -> Vec<About>) -> Result<(), Injected> {
    Ok(())
}

/// Passes a point at which a process may crash, wait or fail.
///
/// # Errors
/// [`Injected`] if the point is armed with `error` or `lost`.
#[cfg(feature = "fault-points")]
pub async fn reach(point: Point, about: impl FnOnce() -> Vec<About>) -> Result<(), Injected> {
    let about = about();
    let mut faults = drawer::hits(point, &about);
    faults.extend(armed::hit(point, &about));
    armed::happen(point, faults).await
}
