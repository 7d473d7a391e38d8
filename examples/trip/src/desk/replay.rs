use saga_core::Event as _;
use saga_core::replay::{Replay, Told};

use super::{Booking, Desk, In, Trip};
use crate::contracts::{Requested, TripId};

/// Commands and the deadline are in no topic; what was booked is in the event that came of it.
impl Replay for Desk {
    const BEGINS: &'static str = Requested::NAME;

    fn unrecorded(&self, trip_id: &TripId, trip: &Trip, told: &[Told]) -> Vec<In> {
        match trip {
            Trip::Absent => booked(told).into_iter().collect(),
            Trip::Gathering { .. } if !told.is_empty() => vec![In::Cancel(*trip_id), In::Deadline],
            Trip::Gathering { .. }
            | Trip::Ticketing { .. }
            | Trip::Confirmed { .. }
            | Trip::Cancelled { .. }
            | Trip::Settled { .. } => Vec::new(),
        }
    }
}

fn booked(told: &[Told]) -> Option<In> {
    let event = told.iter().find(|event| event.name == Requested::NAME)?;
    let Requested { trip_id, plan } =
        Requested::decode(event.version, event.data.to_string().as_bytes()).ok()?;
    Some(In::Book(Booking { trip_id, plan }))
}
