//! The whole that nobody leads: what has to be said of it because no participant knows it.

use saga_core::Choreography;

use crate::contracts::{FOR_OBSERVERS, TOPICS};
use crate::{Cars, Desk, Flights, Hotels};

/// All participants, who gives them commands, and who reads what none of them hears.
pub fn choreography() -> Choreography {
    let trip = Choreography::new("trip")
        .participant::<Desk>()
        .participant::<Hotels>()
        .participant::<Cars>()
        .participant::<Flights>()
        .topics(TOPICS)
        .entry::<Desk>("Book", "a traveller")
        .entry::<Desk>("Cancel", "a traveller")
        .entry::<Hotels>("Open", "the staff");
    let seen = FOR_OBSERVERS.iter();
    seen.fold(trip, |trip, (event, why)| trip.for_observers(event, why))
}
