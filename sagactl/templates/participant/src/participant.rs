//! Newcomer's decisions: reserve what is asked for, or refuse it; release it when it is cancelled.
//!
//! A cancel may come before the request that it undoes, twice, or late. So whatever ended stays as a barrier: a request
//! that is heard of after its end reserves nothing.

use saga_core::participant::Nothing;
use saga_core::{At, Decision, Fault, Inputs, Outputs, Participant, Step, View, steps};

use crate::events::{Cancelled, Refused, Released, Requested, Reserved, SagaId};

/// What no topic records of it.
mod replay;

#[cfg(test)]
mod tests;

/// Policy: whatever decides and is no input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// The most units that one saga gets.
    pub units_max: u32,
}

impl Default for Newcomer {
    fn default() -> Self {
        Self { units_max: 100 }
    }
}

/// What one saga has here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reservation {
    /// Nothing was heard of it.
    #[default]
    Unknown,
    /// It has units.
    Reserved {
        /// How many.
        units: u32,
    },
    /// It has none, and never will again.
    Closed(Closing),
}

/// How it came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closing {
    /// It was told no.
    Refused,
    /// It was cancelled; what was reserved, if anything, is free again.
    Released,
}

/// What newcomer reacts to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Inputs)]
pub enum In {
    /// Reserve.
    #[event]
    Requested(Requested),
    /// Release.
    #[event]
    Cancelled(Cancelled),
}

/// What newcomer puts out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
pub enum Out {
    /// Yes.
    #[event]
    Reserved(Reserved),
    /// No.
    #[event]
    Refused(Refused),
    /// It is undone.
    #[event]
    Released(Released),
}

impl Participant for Newcomer {
    const NAME: &'static str = "newcomer";
    const STEPS: &'static [Step] = steps! { In, Out;
        Requested => [Reserved, Refused];
        Cancelled => [Released] undoes [Reserved];
    };
    type Key = SagaId;
    type State = Reservation;
    type SharedKey = Nothing;
    type Shared = ();
    type Input = In;
    type Output = Out;
    type Reply = ();
    type Refusal = &'static str;

    fn key(&self, input: &In) -> Option<SagaId> {
        match input {
            In::Requested(event) => Some(event.saga_id),
            In::Cancelled(event) => Some(event.saga_id),
        }
    }

    fn decide(
        &self,
        state: Reservation,
        _: &mut View<'_, Nothing, ()>,
        at: At<In>,
    ) -> Result<Decision<Self>, Fault> {
        use Closing::{Refused as No, Released as Undone};
        use Reservation::{Closed, Reserved as Has, Unknown};
        Ok(match (state, at.input) {
            (Unknown, In::Requested(Requested { saga_id, units })) => {
                if (1..=self.units_max).contains(&units) {
                    Decision::to(Has { units }).emit(Out::Reserved(Reserved { saga_id, units }))
                } else {
                    Decision::to(Closed(No)).emit(Out::Refused(Refused { saga_id }))
                }
            }
            (Has { units }, In::Cancelled(Cancelled { saga_id })) => {
                Decision::to(Closed(Undone)).emit(Out::Released(Released { saga_id, units }))
            }
            // The cancel overtook the request: the barrier that the request will find.
            (Unknown, In::Cancelled(_)) => Decision::to(Closed(Undone)),

            // Seen before, or undone before it was heard of.
            (state @ (Has { .. } | Closed(_)), In::Requested(_)) => Decision::ignore(state),
            // Seen before, or there is nothing to undo.
            (state @ Closed(_), In::Cancelled(_)) => Decision::ignore(state),
        })
    }

    fn is_ended(&self, state: &Reservation) -> bool {
        matches!(state, Reservation::Closed(_))
    }
}
