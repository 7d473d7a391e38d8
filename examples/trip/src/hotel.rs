//! Rooms. One that is given back costs a fee.
//!
//! A cancel may come before the trip that it cancels, twice, or late. So whatever ended stays as a barrier: a trip that is
//! heard of after its end gets no room.

use std::collections::BTreeSet;

use saga_core::{At, Decision, Fault, Inputs, Money, Outputs, Participant, Step, View, steps};
use serde::{Deserialize, Serialize};

use crate::contracts::{Cancelled, Confirmed, Requested, RoomBooked, RoomCancelled, RoomRefused, TripId};

/// What no topic records of it.
mod replay;
/// The process.
pub mod service;

/// All hotels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hotels;

/// What is known of the room of one trip.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Stay {
    /// Nothing was heard of the trip.
    #[default]
    Absent,
    /// A room is held.
    Booked {
        /// Where.
        hotel: String,
        /// What it costs to give it back, as it was when it was booked.
        fee: Money,
    },
    /// The guest comes.
    Kept,
    /// There was none.
    Refused,
    /// No room is held any more, and none will be.
    Cancelled,
}

/// A hotel: rooms = free + booked + kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct House {
    /// All of them.
    pub rooms: u32,
    /// Nobody has them.
    pub free: u32,
    /// Held for trips that may yet be cancelled.
    pub booked: u32,
    /// Held for guests who come.
    pub kept: u32,
    /// Of a night.
    pub price: Money,
    /// Of giving a room back.
    pub fee: Money,
}

/// A hotel opens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Open {
    /// What it is called.
    pub hotel: String,
    /// How many rooms it has.
    pub rooms: u32,
    /// Of a night.
    pub price: Money,
    /// Of giving a room back.
    pub fee: Money,
}

impl Open {
    /// One of this name.
    pub fn new(hotel: impl Into<String>, rooms: u32, price: Money, fee: Money) -> Self {
        Self {
            hotel: hotel.into(),
            rooms,
            price,
            fee,
        }
    }
}

/// What the hotels react to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Inputs)]
pub enum In {
    /// Hold a room.
    #[event]
    Requested(Requested),
    /// The guest comes.
    #[event]
    Confirmed(Confirmed),
    /// Give the room back.
    #[event]
    Cancelled(Cancelled),
    /// There is one hotel more.
    #[command]
    Open(Open),
}

/// What the hotels put out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
pub enum Out {
    /// A room is held.
    #[event]
    Booked(RoomBooked),
    /// There is none.
    #[event]
    Refused(RoomRefused),
    /// None is held any more.
    #[event]
    Cancelled(RoomCancelled),
}

/// Why a hotel did not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is one of that name.
    #[error("there is a hotel {0}")]
    OpenAlready(String),
}

impl Participant for Hotels {
    const NAME: &'static str = "hotel";
    const STEPS: &'static [Step] = steps! { In, Out;
        Requested => [Booked, Refused];
        Confirmed => [];
        Cancelled => [Cancelled] undoes [Booked];
        Open      => [];
    };
    type Key = TripId;
    type State = Stay;
    type SharedKey = String;
    type Shared = House;
    type Input = In;
    type Output = Out;
    type Reply = House;
    type Refusal = Refusal;

    fn key(&self, input: &In) -> Option<TripId> {
        match input {
            In::Requested(event) => Some(event.trip_id),
            In::Confirmed(event) => Some(event.trip_id),
            In::Cancelled(event) => Some(event.trip_id),
            In::Open(_) => None,
        }
    }

    fn touches(&self, stay: &Stay, input: &In) -> BTreeSet<String> {
        match (stay, input) {
            (Stay::Absent, In::Requested(event)) => [event.plan.hotel.clone()].into(),
            (Stay::Booked { hotel, .. }, In::Confirmed(_) | In::Cancelled(_)) => [hotel.clone()].into(),
            (_, In::Open(command)) => [command.hotel.clone()].into(),
            _ => BTreeSet::new(),
        }
    }

    fn decide(
        &self,
        stay: Stay,
        houses: &mut View<'_, String, House>,
        at: At<In>,
    ) -> Result<Decision<Self>, Fault> {
        Ok(match (stay, at.input) {
            (Stay::Absent, In::Requested(Requested { trip_id, plan })) => {
                let house = houses.get(&plan.hotel)?.copied();
                match house.and_then(|house| house.book(plan.nights)) {
                    Some((house, price)) => {
                        let (hotel, fee) = (plan.hotel, house.fee);
                        houses.put(hotel.clone(), house)?;
                        Decision::to(Stay::Booked { hotel, fee }).emit(Out::Booked(RoomBooked {
                            trip_id,
                            night: house.price,
                            price,
                            fee,
                        }))
                    }
                    None => Decision::to(Stay::Refused).emit(Out::Refused(RoomRefused { trip_id })),
                }
            }
            (Stay::Booked { hotel, .. }, In::Confirmed(_)) => {
                change(houses, hotel, House::keep)?;
                Decision::to(Stay::Kept)
            }
            (Stay::Booked { hotel, fee }, In::Cancelled(Cancelled { trip_id, .. })) => {
                change(houses, hotel, House::give_back)?;
                let fee = Some(fee);
                Decision::to(Stay::Cancelled).emit(Out::Cancelled(RoomCancelled { trip_id, fee }))
            }
            // The cancel overtook the trip: the barrier that the trip will find. Nothing was held, so it costs nothing.
            (Stay::Absent, In::Cancelled(Cancelled { trip_id, .. })) => {
                let fee = None;
                Decision::to(Stay::Cancelled).emit(Out::Cancelled(RoomCancelled { trip_id, fee }))
            }

            // Seen before, or the trip ended before the desk heard that there is no room.
            (
                stay @ (Stay::Booked { .. } | Stay::Kept | Stay::Refused | Stay::Cancelled),
                In::Requested(_),
            )
            | (stay @ (Stay::Refused | Stay::Cancelled), In::Cancelled(_))
            | (stay @ Stay::Kept, In::Confirmed(_)) => Decision::ignore(stay),

            (Stay::Absent | Stay::Refused | Stay::Cancelled, In::Confirmed(_)) => {
                return Err(Fault::impossible(
                    "a trip was confirmed for which no room is held",
                ));
            }
            (Stay::Kept, In::Cancelled(_)) => {
                return Err(Fault::impossible("a trip was cancelled that takes place"));
            }

            (stay, In::Open(open)) => {
                if houses.get(&open.hotel)?.is_some() {
                    return Ok(Decision::refuse(stay, Refusal::OpenAlready(open.hotel)));
                }
                let house = House {
                    rooms: open.rooms,
                    free: open.rooms,
                    booked: 0,
                    kept: 0,
                    price: open.price,
                    fee: open.fee,
                };
                houses.put(open.hotel, house)?;
                Decision::to(stay).reply(house)
            }
        })
    }

    fn is_ended(&self, stay: &Stay) -> bool {
        matches!(stay, Stay::Kept | Stay::Refused | Stay::Cancelled)
    }
}

impl House {
    /// Whether every room is somewhere.
    pub fn balances(&self) -> bool {
        self.free
            .checked_add(self.booked)
            .and_then(|n| n.checked_add(self.kept))
            == Some(self.rooms)
    }

    /// Holds a room, if one is free, and says what it costs.
    fn book(self, nights: u32) -> Option<(Self, Money)> {
        let price = self.price.times(nights).ok()?;
        let house = Self {
            free: self.free.checked_sub(1)?,
            booked: self.booked.checked_add(1)?,
            ..self
        };
        Some((house, price))
    }

    fn keep(self) -> Option<Self> {
        Some(Self {
            booked: self.booked.checked_sub(1)?,
            kept: self.kept.checked_add(1)?,
            ..self
        })
    }

    fn give_back(self) -> Option<Self> {
        Some(Self {
            booked: self.booked.checked_sub(1)?,
            free: self.free.checked_add(1)?,
            ..self
        })
    }
}

fn change(
    houses: &mut View<'_, String, House>,
    hotel: String,
    how: fn(House) -> Option<House>,
) -> Result<(), Fault> {
    let house = houses.get(&hotel)?.copied().and_then(how);
    let house = house.ok_or_else(|| Fault::impossible("a room is held that the hotel does not have"))?;
    houses.put(hotel, house)
}
