use saga_core::replay::{Replay, Told};
use saga_core::{Event as _, Outcome};

use super::{Bought, Flights, In, Seat, UNREACHABLE, Withdrawn};
use crate::contracts::{FlightRefused, Ready, Ticketed, TripId};

/// The airline's answers are in no topic; what they were is in the events that came of them.
impl Replay for Flights {
    const BEGINS: &'static str = Ready::NAME;

    fn unrecorded(&self, _: &TripId, seat: &Seat, told: &[Told]) -> Vec<In> {
        match seat {
            Seat::Buying { .. } => {
                let issued = bought(told).map(|event| Bought::Issued {
                    ticket: event.ticket,
                    fare: event.fare,
                });
                let refused = refusal(told).map(|event| Bought::Refused { code: event.code });
                let answers = issued.into_iter().chain(refused).map(Outcome::Answered);
                let exhausted = Outcome::Exhausted { attempts: 8 };
                answers.chain([exhausted]).map(In::Bought).collect()
            }
            Seat::Withdrawing { .. } => {
                let issued = bought(told).map(|event| Withdrawn::Issued {
                    ticket: event.ticket,
                    fare: event.fare,
                });
                let withdrawn = refusal(told).filter(|event| event.code == UNREACHABLE);
                let answers = issued.into_iter().chain(withdrawn.map(|_| Withdrawn::Withdrawn));
                answers.map(Outcome::Answered).map(In::Withdrawn).collect()
            }
            Seat::Absent | Seat::Ticketed | Seat::Refused => Vec::new(),
        }
    }
}

fn bought(told: &[Told]) -> Option<Ticketed> {
    let event = told.iter().find(|event| event.name == Ticketed::NAME)?;
    Ticketed::decode(event.version, event.data.to_string().as_bytes()).ok()
}

fn refusal(told: &[Told]) -> Option<FlightRefused> {
    let event = told.iter().find(|event| event.name == FlightRefused::NAME)?;
    FlightRefused::decode(event.version, event.data.to_string().as_bytes()).ok()
}
