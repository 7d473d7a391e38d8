//! Values of types that the model does not know: states and shared rows of anybody's participants.

use std::any::Any;
use std::fmt::{self, Debug};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ahash::RandomState;

/// Any will do, as long as they stay.
const SEEDED: RandomState = RandomState::with_seeds(1, 2, 3, 4);

/// A value that can be compared, hashed and shown. Its hash is taken once: a model hashes each state of the whole, of which
/// one step changes little.
#[derive(Clone)]
pub(crate) struct Erased {
    value: Arc<dyn Value>,
    digest: u64,
}

trait Value: Debug + Send + Sync {
    fn is(&self, other: &dyn Any) -> bool;
    fn as_any(&self) -> &dyn Any;
}

impl<T: Any + Eq + Debug + Send + Sync> Value for T {
    fn is(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>() == Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Erased {
    pub(crate) fn new<T: Any + Eq + Hash + Debug + Send + Sync>(value: T) -> Self {
        Self {
            digest: digest(&value),
            value: Arc::new(value),
        }
    }

    /// # Panics
    /// If it is of another type, which the model does not let happen.
    pub(crate) fn get<T: Any>(&self) -> &T {
        // Not `self.value.as_any()`: the Arc is a value itself.
        let value = (*self.value).as_any().downcast_ref();
        value.expect("a value comes back as what it was put in as")
    }
}

/// A state in 64 bits, the same in every run of a build: the seeds are always these.
pub fn digest<T: Hash + ?Sized>(value: &T) -> u64 {
    SEEDED.hash_one(value)
}

impl PartialEq for Erased {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && (*self.value).is((*other.value).as_any())
    }
}

impl Eq for Erased {}

impl Hash for Erased {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl Debug for Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
