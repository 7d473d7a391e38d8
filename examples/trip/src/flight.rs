//! The ticket. It cannot be given back, so it is bought last, once and only once.
//!
//! What makes it hard is that the airline's answer may be missing. **Exhausted is not failed**: somebody may have a
//! ticket. So the request is withdrawn, and the airline says which of the two came first: that answer is definite.

use saga_core::{
    At, Decision, Effect, Fault, Inputs, Money, Nothing, Outcome, Outputs, Participant, RetryPolicy, Role,
    Step, View, steps,
};
use serde::{Deserialize, Serialize};

use crate::contracts::{FlightRefused, Ready, Ticketed, TripId};

/// The airline, over HTTP.
mod client;
/// What no topic records of it.
mod replay;
/// The process.
pub mod service;

pub use client::Airline;

/// All flights.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flights;

/// The code of a ticket that nobody could tell us about and that was withdrawn.
pub const UNREACHABLE: &str = "airline_unreachable";

/// What is known of the flight of one trip.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Seat {
    /// Nothing was heard of the trip.
    #[default]
    Absent,
    /// The airline was asked for a ticket.
    Buying {
        /// The saga.
        trip_id: TripId,
    },
    /// It did not answer, and is asked to forget it, if it can.
    Withdrawing {
        /// The saga.
        trip_id: TripId,
    },
    /// The ticket is bought.
    Ticketed,
    /// There is none, and there will be none.
    Refused,
}

/// Buy a ticket. The trip is its idempotency key: there is one per trip, however often it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BuyTicket {
    /// Our reference.
    pub trip_id: TripId,
    /// For whom.
    pub passenger: String,
    /// Which flight.
    pub flight: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Bought {
    /// It is bought.
    Issued {
        /// The airline's number.
        ticket: String,
        /// What it costs.
        fare: Money,
    },
    /// There is none.
    Refused {
        /// The airline's word for it.
        code: String,
    },
}

/// Withdraw a request that got no answer: whatever arrives under our reference later is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Withdraw {
    /// Our reference.
    pub trip_id: TripId,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Withdrawn {
    /// There is no ticket, and there will be none.
    Withdrawn,
    /// Too late: it is bought.
    Issued {
        /// The airline's number.
        ticket: String,
        /// What it costs.
        fare: Money,
    },
}

impl Effect for BuyTicket {
    const KIND: &'static str = "buy_ticket";
    const POLICY: RetryPolicy = RetryPolicy::INTERACTIVE;
    type Answer = Bought;
}

impl Effect for Withdraw {
    const KIND: &'static str = "withdraw";
    const POLICY: RetryPolicy = RetryPolicy::PERSISTENT;
    /// It asks what became of the ticket, in a way that makes the answer last.
    const ROLE: Role = Role::Asks;
    type Answer = Withdrawn;
}

/// What is reacted to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Inputs)]
pub enum In {
    /// Buy the ticket.
    #[event]
    Ready(Ready),
    /// What came of it.
    #[result]
    Bought(Outcome<BuyTicket>),
    /// Which of the two came first.
    #[result]
    Withdrawn(Outcome<Withdraw>),
}

/// What is put out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
pub enum Out {
    /// Buy it.
    #[effect]
    Buy(BuyTicket),
    /// Forget it.
    #[effect]
    Withdraw(Withdraw),
    /// It is bought.
    #[event]
    Ticketed(Ticketed),
    /// There is none.
    #[event]
    Refused(FlightRefused),
}

impl Participant for Flights {
    const NAME: &'static str = "flight";
    const STEPS: &'static [Step] = steps! { In, Out;
        Ready     => [Buy];
        Bought    => [Ticketed, Refused, Withdraw];
        Withdrawn => [Ticketed, Refused];
    };
    type Key = TripId;
    type State = Seat;
    type SharedKey = Nothing;
    type Shared = ();
    type Input = In;
    type Output = Out;
    /// It takes no commands.
    type Reply = ();
    type Refusal = String;

    fn key(&self, input: &In) -> Option<TripId> {
        match input {
            In::Ready(event) => Some(event.trip_id),
            In::Bought(_) | In::Withdrawn(_) => None,
        }
    }

    fn decide(&self, seat: Seat, _: &mut View<'_, Nothing, ()>, at: At<In>) -> Result<Decision<Self>, Fault> {
        use Seat::{Absent, Buying, Refused, Ticketed, Withdrawing};
        Ok(match (seat, at.input) {
            (
                Absent,
                In::Ready(Ready {
                    trip_id,
                    passenger,
                    flight,
                }),
            ) => Decision::to(Buying { trip_id }).emit(Out::Buy(BuyTicket {
                trip_id,
                passenger,
                flight,
            })),
            // Seen before.
            (seat @ (Buying { .. } | Withdrawing { .. } | Ticketed | Refused), In::Ready(_)) => {
                Decision::ignore(seat)
            }

            (Buying { trip_id }, In::Bought(Outcome::Answered(Bought::Issued { ticket, fare }))) => {
                ticketed(trip_id, ticket, fare)
            }
            (Buying { trip_id }, In::Bought(Outcome::Answered(Bought::Refused { code }))) => {
                refused(trip_id, code)
            }
            (Buying { trip_id }, In::Bought(Outcome::Exhausted { .. })) => {
                Decision::to(Withdrawing { trip_id }).emit(Out::Withdraw(Withdraw { trip_id }))
            }

            (
                Withdrawing { trip_id },
                In::Withdrawn(Outcome::Answered(Withdrawn::Issued { ticket, fare })),
            ) => ticketed(trip_id, ticket, fare),
            (Withdrawing { trip_id }, In::Withdrawn(Outcome::Answered(Withdrawn::Withdrawn))) => {
                refused(trip_id, UNREACHABLE.to_owned())
            }
            // It stays visible, and an operator may have it tried again.
            (seat @ Withdrawing { .. }, In::Withdrawn(Outcome::Exhausted { .. })) => Decision::ignore(seat),

            (Absent | Withdrawing { .. } | Ticketed | Refused, In::Bought(_))
            | (Absent | Buying { .. } | Ticketed | Refused, In::Withdrawn(_)) => {
                return Err(Fault::impossible("the airline answered what it was not asked"));
            }
        })
    }

    fn is_ended(&self, seat: &Seat) -> bool {
        matches!(seat, Seat::Ticketed | Seat::Refused)
    }
}

fn ticketed(trip_id: TripId, ticket: String, fare: Money) -> Decision<Flights> {
    Decision::to(Seat::Ticketed).emit(Out::Ticketed(Ticketed {
        trip_id,
        ticket,
        fare,
    }))
}

fn refused(trip_id: TripId, code: String) -> Decision<Flights> {
    Decision::to(Seat::Refused).emit(Out::Refused(FlightRefused { trip_id, code }))
}
