use saga_core::Event as _;
use saga_core::replay::{Replay, Told};

use super::{Cars, In, Rental};
use crate::contracts::{Requested, TripId};

/// All that it hears is in the topics.
impl Replay for Cars {
    const BEGINS: &'static str = Requested::NAME;

    fn unrecorded(&self, _: &TripId, _: &Rental, _: &[Told]) -> Vec<In> {
        Vec::new()
    }
}
