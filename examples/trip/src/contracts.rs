//! What the participants tell each other: a topic each, and one key in all of them.

use std::fmt;
use std::str::FromStr;

use saga_core::{Currency, Event, Money, Topic};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Every topic.
pub const TOPICS: &[Topic] = &[
    Topic::new("trip-events"),
    Topic::new("hotel-events"),
    Topic::new("car-events"),
    Topic::new("flight-events"),
];

/// Events that no participant hears, and who reads them.
pub const FOR_OBSERVERS: &[(&str, &str)] = &[
    (
        "trip.settled",
        "the traveller, who is told what the cancelled trip costs",
    ),
    (
        "car.released",
        "whoever washes the car; it costs nothing, so nobody waits for it",
    ),
];

/// A trip, which is one saga: the key of everything in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TripId(pub Uuid);

impl fmt::Display for TripId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TripId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// What somebody wants to book.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Plan {
    /// Who travels.
    pub passenger: String,
    /// Where they stay.
    pub hotel: String,
    /// For how long.
    pub nights: u32,
    /// What they drive: `compact`, `van`.
    pub car: String,
    /// How they get there: `QD 7`.
    pub flight: String,
}

impl Plan {
    /// A plan of somebody's.
    pub fn new(passenger: &str, hotel: &str, nights: u32, car: &str, flight: &str) -> Self {
        Self {
            passenger: passenger.to_owned(),
            hotel: hotel.to_owned(),
            nights,
            car: car.to_owned(),
            flight: flight.to_owned(),
        }
    }
}

/// So many euros.
pub const fn euros(euros: i64) -> Money {
    Money::new(100 * euros, Currency::EUR)
}

/// What a trip costs. Not added up: hotel and airline may want different currencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bill {
    /// All nights.
    pub hotel: Money,
    /// The whole rental.
    pub car: Money,
    /// The fare.
    pub flight: Money,
}

/// Why a trip does not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The hotel is full, or nobody knows it.
    NoRoom,
    /// There is no such car.
    NoCar,
    /// The airline sells no ticket.
    NoSeat,
    /// The traveller changed their mind.
    Traveller,
    /// Somebody did not answer in time.
    Deadline,
}

/// Somebody wants to travel: hold a room and a car.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "trip-events", name = "trip.requested", key = trip_id)]
pub struct Requested {
    /// The saga.
    pub trip_id: TripId,
    /// What is wanted.
    pub plan: Plan,
}

/// Room and car are held: buy the ticket. From here on only the airline can turn the trip back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "trip-events", name = "trip.ready", key = trip_id)]
pub struct Ready {
    /// The saga.
    pub trip_id: TripId,
    /// For whom.
    pub passenger: String,
    /// Which flight.
    pub flight: String,
}

/// The trip takes place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "trip-events", name = "trip.confirmed", key = trip_id)]
pub struct Confirmed {
    /// The saga.
    pub trip_id: TripId,
    /// What it costs.
    pub bill: Bill,
}

/// The trip does not take place: the one signal that undoes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "trip-events", name = "trip.cancelled", key = trip_id)]
pub struct Cancelled {
    /// The saga.
    pub trip_id: TripId,
    /// Why.
    pub reason: Reason,
}

/// What a cancelled trip costs, and that nothing more will come of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "trip-events", name = "trip.settled", key = trip_id)]
pub struct Settled {
    /// The saga.
    pub trip_id: TripId,
    /// The hotel's fee, if a room was given back.
    pub fee: Option<Money>,
}

/// A room is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "hotel-events", name = "hotel.booked", key = trip_id)]
pub struct RoomBooked {
    /// The saga.
    pub trip_id: TripId,
    /// One night.
    pub night: Money,
    /// All nights.
    pub price: Money,
    /// What it costs to give it back.
    pub fee: Money,
}

/// There is no room.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "hotel-events", name = "hotel.refused", key = trip_id, refusal)]
pub struct RoomRefused {
    /// The saga.
    pub trip_id: TripId,
}

/// No room is held any more, nor will be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "hotel-events", name = "hotel.cancelled", key = trip_id)]
pub struct RoomCancelled {
    /// The saga.
    pub trip_id: TripId,
    /// What that costs; nothing if none was held.
    pub fee: Option<Money>,
}

/// A car is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "car-events", name = "car.reserved", key = trip_id)]
pub struct CarReserved {
    /// The saga.
    pub trip_id: TripId,
    /// The whole rental.
    pub price: Money,
}

/// There is no such car.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "car-events", name = "car.refused", key = trip_id, refusal)]
pub struct CarRefused {
    /// The saga.
    pub trip_id: TripId,
}

/// The car is free again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "car-events", name = "car.released", key = trip_id)]
pub struct CarReleased {
    /// The saga.
    pub trip_id: TripId,
}

/// The ticket is bought, and cannot be given back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "flight-events", name = "flight.ticketed", key = trip_id)]
pub struct Ticketed {
    /// The saga.
    pub trip_id: TripId,
    /// The airline's number.
    pub ticket: String,
    /// As the airline has it in its books.
    pub fare: Money,
}

/// There is no ticket, and there will be none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "flight-events", name = "flight.refused", key = trip_id, refusal)]
pub struct FlightRefused {
    /// The saga.
    pub trip_id: TripId,
    /// The airline's word for it.
    pub code: String,
}
