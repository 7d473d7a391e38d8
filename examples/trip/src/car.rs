//! Cars. One that is given back costs nothing, so nobody waits for it.

use std::collections::BTreeMap;

use saga_core::{At, Decision, Fault, Inputs, Money, Nothing, Outputs, Participant, Step, View, steps};
use serde::{Deserialize, Serialize};

use crate::contracts::{
    Cancelled, CarRefused, CarReleased, CarReserved, Confirmed, Requested, TripId, euros,
};

/// What no topic records of it.
mod replay;
/// The process.
pub mod service;

/// Policy.
#[derive(Clone, Debug)]
pub struct Cars {
    /// What a car of each class costs; there are enough of them.
    pub classes: BTreeMap<String, Money>,
}

impl Default for Cars {
    fn default() -> Self {
        Self {
            classes: [("compact".to_owned(), euros(45)), ("van".to_owned(), euros(90))].into(),
        }
    }
}

/// What is known of the car of one trip.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Rental {
    /// Nothing was heard of the trip.
    #[default]
    Absent,
    /// A car is held.
    Reserved,
    /// The driver comes.
    Kept,
    /// There was none.
    Refused,
    /// None is held any more, and none will be.
    Released,
}

/// What the rental reacts to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Inputs)]
pub enum In {
    /// Hold a car.
    #[event]
    Requested(Requested),
    /// The driver comes.
    #[event]
    Confirmed(Confirmed),
    /// Give the car back.
    #[event]
    Cancelled(Cancelled),
}

/// What the rental puts out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
pub enum Out {
    /// A car is held.
    #[event]
    Reserved(CarReserved),
    /// There is none.
    #[event]
    Refused(CarRefused),
    /// It is free again.
    #[event]
    Released(CarReleased),
}

impl Participant for Cars {
    const NAME: &'static str = "car";
    const STEPS: &'static [Step] = steps! { In, Out;
        Requested => [Reserved, Refused];
        Confirmed => [];
        Cancelled => [Released] undoes [Reserved];
    };
    type Key = TripId;
    type State = Rental;
    type SharedKey = Nothing;
    type Shared = ();
    type Input = In;
    type Output = Out;
    /// It takes no commands.
    type Reply = ();
    type Refusal = String;

    fn key(&self, input: &In) -> Option<TripId> {
        match input {
            In::Requested(event) => Some(event.trip_id),
            In::Confirmed(event) => Some(event.trip_id),
            In::Cancelled(event) => Some(event.trip_id),
        }
    }

    fn decide(
        &self,
        rental: Rental,
        _: &mut View<'_, Nothing, ()>,
        at: At<In>,
    ) -> Result<Decision<Self>, Fault> {
        use Rental::{Absent, Kept, Refused, Released, Reserved};
        Ok(match (rental, at.input) {
            (Absent, In::Requested(Requested { trip_id, plan })) => match self.classes.get(&plan.car) {
                Some(&price) => Decision::to(Reserved).emit(Out::Reserved(CarReserved { trip_id, price })),
                None => Decision::to(Refused).emit(Out::Refused(CarRefused { trip_id })),
            },
            (Reserved, In::Confirmed(_)) => Decision::to(Kept),
            (Reserved, In::Cancelled(Cancelled { trip_id, .. })) => {
                Decision::to(Released).emit(Out::Released(CarReleased { trip_id }))
            }
            // The cancel overtook the trip: the barrier that the trip will find.
            (Absent, In::Cancelled(_)) => Decision::to(Released),

            // Seen before, or the trip ended before the desk heard that there is no car.
            (rental @ (Reserved | Kept | Refused | Released), In::Requested(_))
            | (rental @ (Refused | Released), In::Cancelled(_))
            | (rental @ Kept, In::Confirmed(_)) => Decision::ignore(rental),

            (Absent | Refused | Released, In::Confirmed(_)) => {
                return Err(Fault::impossible("a trip was confirmed for which no car is held"));
            }
            (Kept, In::Cancelled(_)) => {
                return Err(Fault::impossible("a trip was cancelled that takes place"));
            }
        })
    }

    fn is_ended(&self, rental: &Rental) -> bool {
        matches!(rental, Rental::Kept | Rental::Refused | Rental::Released)
    }
}
