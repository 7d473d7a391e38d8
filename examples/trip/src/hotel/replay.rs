use saga_core::replay::{Replay, Told};
use saga_core::{Currency, Event as _, Money};

use super::{Hotels, House, In, Stay};
use crate::contracts::{Requested, RoomBooked, RoomRefused, TripId};

/// What opened, and how full it was, is in no topic. So a hotel is as it must have been: it has a room, at the price
/// that it told, unless it told that it has none.
impl Replay for Hotels {
    const BEGINS: &'static str = Requested::NAME;

    fn unrecorded(&self, _: &TripId, _: &Stay, _: &[Told]) -> Vec<In> {
        Vec::new()
    }

    fn row(&self, _: &String, told: &[Told]) -> Option<House> {
        if told.iter().any(|event| event.name == RoomRefused::NAME) {
            return None;
        }
        let booked = told.iter().find(|event| event.name == RoomBooked::NAME);
        let booked = booked
            .and_then(|event| RoomBooked::decode(event.version, event.data.to_string().as_bytes()).ok());
        let nothing = Money::zero(Currency::EUR);
        let (price, fee) = booked.map_or((nothing, nothing), |event| (event.night, event.fee));
        Some(House {
            rooms: 2,
            free: 1,
            booked: 1,
            kept: 0,
            price,
            fee,
        })
    }
}
