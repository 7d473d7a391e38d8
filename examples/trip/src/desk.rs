//! The traveller's side: takes a trip, says when everything is ready for the ticket, and how it ended.
//!
//! `trip.ready` is the point of no return. A ticket cannot be given back, so nothing may turn the trip back once it may
//! have been bought, except the airline's own "no": a traveller who cancels, or a deadline, comes before that or not at
//! all. One row lock decides between them.

use std::time::Duration;

use saga_core::{
    At, Decision, Fault, Inputs, Money, Nothing, Outputs, Participant, Step, Timer, View, steps,
};
use serde::{Deserialize, Serialize};

use crate::contracts::{
    self, Bill, CarRefused, CarReserved, FlightRefused, Plan, Ready, Reason, Requested, RoomBooked,
    RoomCancelled, RoomRefused, Ticketed, TripId,
};

/// What no topic records of it.
mod replay;
/// The process.
pub mod service;

/// Policy.
#[derive(Clone, Copy, Debug)]
pub struct Desk {
    /// How long hotel and car may take.
    pub deadline: Duration,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10 * 60),
        }
    }
}

/// A trip, as the desk knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Trip {
    /// Nobody asked for it.
    #[default]
    Absent,
    /// Hotel and car have yet to say yes.
    Gathering {
        /// What is wanted.
        booking: Booking,
        /// The price of the room that is held.
        hotel: Option<Money>,
        /// The price of the car that is held.
        car: Option<Money>,
    },
    /// The ticket is being bought. Nobody can cancel any more.
    Ticketing {
        /// What is wanted.
        booking: Booking,
        /// The price of the room.
        hotel: Money,
        /// The price of the car.
        car: Money,
    },
    /// It takes place.
    Confirmed {
        /// What was booked.
        booking: Booking,
        /// What it costs.
        bill: Bill,
        /// The airline's number.
        ticket: String,
    },
    /// It does not take place; what the hotel wants for that is not known yet.
    Cancelled {
        /// What was wanted.
        booking: Booking,
        /// Why not.
        reason: Reason,
    },
    /// It does not take place, and costs so much.
    Settled {
        /// What was wanted.
        booking: Booking,
        /// Why not.
        reason: Reason,
        /// The hotel's fee.
        fee: Option<Money>,
    },
}

impl Trip {
    /// It does not take place, whatever that costs.
    pub fn is_off(&self) -> bool {
        matches!(self, Trip::Cancelled { .. } | Trip::Settled { .. })
    }

    /// What the hotel wants for that.
    pub fn fee(&self) -> Option<Money> {
        match self {
            Trip::Settled { fee, .. } => *fee,
            _ => None,
        }
    }
}

/// Somebody wants to travel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Booking {
    /// The saga.
    pub trip_id: TripId,
    /// What is wanted.
    pub plan: Plan,
}

/// What the desk reacts to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Inputs)]
pub enum In {
    /// Take a trip.
    #[command]
    Book(Booking),
    /// The traveller changed their mind.
    #[command]
    Cancel(TripId),
    /// Hotel and car had time enough.
    #[timer]
    Deadline,
    /// A room is held.
    #[event]
    RoomBooked(RoomBooked),
    /// There is none.
    #[event]
    RoomRefused(RoomRefused),
    /// None is held any more.
    #[event]
    RoomCancelled(RoomCancelled),
    /// A car is held.
    #[event]
    CarReserved(CarReserved),
    /// There is none.
    #[event]
    CarRefused(CarRefused),
    /// The ticket is bought.
    #[event]
    Ticketed(Ticketed),
    /// There is none.
    #[event]
    FlightRefused(FlightRefused),
}

/// What the desk puts out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
pub enum Out {
    /// Hold a room and a car.
    #[event]
    Requested(Requested),
    /// Buy the ticket.
    #[event]
    Ready(Ready),
    /// It takes place.
    #[event]
    Confirmed(contracts::Confirmed),
    /// It does not.
    #[event]
    Cancelled(contracts::Cancelled),
    /// What that costs.
    #[event]
    Settled(contracts::Settled),
    /// When hotel and car had time enough.
    #[timer]
    Deadline(Timer),
}

/// Why a command changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The id was used before.
    #[error("trip {0} was booked before")]
    AlreadyBooked(TripId),
    /// There is no such trip.
    #[error("nobody booked trip {0}")]
    NotFound(TripId),
    /// The ticket may be bought by now, or the trip is over.
    #[error("it is too late to cancel trip {0}")]
    TooLate(TripId),
}

impl Participant for Desk {
    const NAME: &'static str = "desk";
    const STEPS: &'static [Step] = steps! { In, Out;
        Book          => [Requested, Deadline];
        Cancel        => [Cancelled, Deadline] undoes [Requested];
        Deadline      => [Cancelled] undoes [Requested];
        RoomBooked    => [Ready, Deadline];
        RoomRefused   => [Cancelled, Settled, Deadline] undoes [Requested];
        RoomCancelled => [Settled];
        CarReserved   => [Ready, Deadline];
        CarRefused    => [Cancelled, Deadline] undoes [Requested];
        Ticketed      => [Confirmed];
        FlightRefused => [Cancelled] undoes [Requested, Ready];
    };
    type Key = TripId;
    type State = Trip;
    type SharedKey = Nothing;
    type Shared = ();
    type Input = In;
    type Output = Out;
    type Reply = Trip;
    type Refusal = Refusal;

    fn key(&self, input: &In) -> Option<TripId> {
        match input {
            In::Book(command) => Some(command.trip_id),
            In::Cancel(trip_id) => Some(*trip_id),
            In::RoomBooked(event) => Some(event.trip_id),
            In::RoomRefused(event) => Some(event.trip_id),
            In::RoomCancelled(event) => Some(event.trip_id),
            In::CarReserved(event) => Some(event.trip_id),
            In::CarRefused(event) => Some(event.trip_id),
            In::Ticketed(event) => Some(event.trip_id),
            In::FlightRefused(event) => Some(event.trip_id),
            In::Deadline => None,
        }
    }

    fn decide(&self, trip: Trip, _: &mut View<'_, Nothing, ()>, at: At<In>) -> Result<Decision<Self>, Fault> {
        use Trip::{Absent, Cancelled, Confirmed, Gathering, Settled, Ticketing};
        Ok(match (trip, at.input) {
            (Absent, In::Book(booking)) => {
                let requested = Requested {
                    trip_id: booking.trip_id,
                    plan: booking.plan.clone(),
                };
                let trip = Gathering {
                    booking,
                    hotel: None,
                    car: None,
                };
                Decision::to(trip.clone())
                    .emit(Out::Requested(requested))
                    .emit(Out::Deadline(Timer::In(self.deadline)))
                    .reply(trip)
            }

            // Everything that can be given back has to be there before the ticket is bought.
            (Gathering { booking, car, .. }, In::RoomBooked(event)) => {
                gathered(booking, Some(event.price), car)
            }
            (Gathering { booking, hotel, .. }, In::CarReserved(event)) => {
                gathered(booking, hotel, Some(event.price))
            }

            // The ways back, as long as there is one.
            (Gathering { booking, .. }, In::Cancel(_)) => {
                let decision = cancel(booking, Reason::Traveller).emit(Out::Deadline(Timer::Cancel));
                let trip = decision.state.clone();
                decision.reply(trip)
            }
            (Gathering { booking, .. }, In::Deadline) => cancel(booking, Reason::Deadline),
            (Gathering { booking, .. }, In::CarRefused(_)) => {
                cancel(booking, Reason::NoCar).emit(Out::Deadline(Timer::Cancel))
            }
            (Gathering { booking, .. }, In::RoomRefused(_)) => {
                let cancelled = cancel(booking.clone(), Reason::NoRoom);
                let settled = settle(booking, Reason::NoRoom, None);
                let outputs = cancelled.outputs.into_iter().chain(settled.outputs);
                outputs
                    .fold(Decision::to(settled.state), Decision::emit)
                    .emit(Out::Deadline(Timer::Cancel))
            }
            (Ticketing { booking, .. }, In::FlightRefused(_)) => cancel(booking, Reason::NoSeat),

            // The pivot.
            (
                Ticketing {
                    booking, hotel, car, ..
                },
                In::Ticketed(Ticketed { ticket, fare, .. }),
            ) => {
                let bill = Bill {
                    hotel,
                    car,
                    flight: fare,
                };
                let confirmed = contracts::Confirmed {
                    trip_id: booking.trip_id,
                    bill,
                };
                Decision::to(Confirmed {
                    booking,
                    bill,
                    ticket,
                })
                .emit(Out::Confirmed(confirmed))
            }

            // What the hotel wants for a room that is given back. It may have refused while the trip was cancelled.
            (Cancelled { booking, reason }, In::RoomCancelled(event)) => settle(booking, reason, event.fee),
            (Cancelled { booking, reason }, In::RoomRefused(_)) => settle(booking, reason, None),

            // Too late, or for nothing.
            (Absent, In::Cancel(trip_id)) => Decision::refuse(Absent, Refusal::NotFound(trip_id)),
            (
                trip @ (Ticketing { .. } | Confirmed { .. } | Cancelled { .. } | Settled { .. }),
                In::Cancel(trip_id),
            ) => Decision::refuse(trip, Refusal::TooLate(trip_id)),
            (
                trip @ (Gathering { .. }
                | Ticketing { .. }
                | Confirmed { .. }
                | Cancelled { .. }
                | Settled { .. }),
                In::Book(booking),
            ) => Decision::refuse(trip, Refusal::AlreadyBooked(booking.trip_id)),

            // Seen before, or it crossed with a cancel and is undone by whom it concerns.
            (trip @ (Ticketing { .. } | Confirmed { .. }), In::RoomBooked(_) | In::CarReserved(_))
            | (trip @ Confirmed { .. }, In::Ticketed(_))
            | (
                trip @ (Cancelled { .. } | Settled { .. }),
                In::RoomBooked(_) | In::CarReserved(_) | In::CarRefused(_) | In::FlightRefused(_),
            )
            | (trip @ Settled { .. }, In::RoomRefused(_) | In::RoomCancelled(_)) => Decision::ignore(trip),
            // It fired while the wait was ending.
            (
                trip @ (Ticketing { .. } | Confirmed { .. } | Cancelled { .. } | Settled { .. }),
                In::Deadline,
            ) => Decision::ignore(trip),

            // What the others never do.
            (
                Absent,
                In::Deadline
                | In::RoomBooked(_)
                | In::RoomRefused(_)
                | In::RoomCancelled(_)
                | In::CarReserved(_)
                | In::CarRefused(_)
                | In::Ticketed(_)
                | In::FlightRefused(_),
            ) => return Err(Fault::impossible("news of a trip that nobody booked")),
            (Gathering { .. }, In::RoomCancelled(_) | In::Ticketed(_) | In::FlightRefused(_)) => {
                return Err(Fault::impossible("a step was taken that nobody asked for"));
            }
            (
                Ticketing { .. } | Confirmed { .. },
                In::RoomRefused(_) | In::RoomCancelled(_) | In::CarRefused(_),
            )
            | (Confirmed { .. }, In::FlightRefused(_)) => {
                return Err(Fault::impossible(
                    "a part of a trip is gone that nobody gave back",
                ));
            }
            (Cancelled { .. } | Settled { .. }, In::Ticketed(_)) => {
                return Err(Fault::impossible(
                    "a ticket was bought for a trip that was cancelled",
                ));
            }
        })
    }

    fn is_ended(&self, trip: &Trip) -> bool {
        matches!(trip, Trip::Confirmed { .. } | Trip::Settled { .. })
    }
}

/// Goes on to the ticket once both are there.
fn gathered(booking: Booking, hotel: Option<Money>, car: Option<Money>) -> Decision<Desk> {
    let (Some(hotel), Some(car)) = (hotel, car) else {
        return Decision::to(Trip::Gathering { booking, hotel, car });
    };
    let ready = Ready {
        trip_id: booking.trip_id,
        passenger: booking.plan.passenger.clone(),
        flight: booking.plan.flight.clone(),
    };
    Decision::to(Trip::Ticketing { booking, hotel, car })
        .emit(Out::Ready(ready))
        .emit(Out::Deadline(Timer::Cancel))
}

fn cancel(booking: Booking, reason: Reason) -> Decision<Desk> {
    let trip_id = booking.trip_id;
    Decision::to(Trip::Cancelled { booking, reason })
        .emit(Out::Cancelled(contracts::Cancelled { trip_id, reason }))
}

fn settle(booking: Booking, reason: Reason, fee: Option<Money>) -> Decision<Desk> {
    let trip_id = booking.trip_id;
    Decision::to(Trip::Settled { booking, reason, fee })
        .emit(Out::Settled(contracts::Settled { trip_id, fee }))
}
