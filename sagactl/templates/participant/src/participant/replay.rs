use saga_core::Event as _;
use saga_core::replay::{Replay, Told};

use super::{In, Newcomer, Requested, Reservation, SagaId};

/// All that it hears is in topics. Commands, timers and answers are not, and would be said here.
impl Replay for Newcomer {
    const BEGINS: &'static str = Requested::NAME;

    fn unrecorded(&self, _: &SagaId, _: &Reservation, _: &[Told]) -> Vec<In> {
        Vec::new()
    }
}
