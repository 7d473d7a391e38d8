//! An event names the input that caused it. If that is no event but the answer to an effect, or a timer, its
//! id tells which: it is derived from the input that put the effect out, so we derive it as well and compare.

use std::collections::BTreeMap;

use saga_core::id::{of_outcome, of_output};
use uuid::Uuid;

/// What a participant puts out that comes back to it as an input: (participant, name, whether it is an effect).
pub(crate) const DETOURS: &[(&str, &str, bool)] = &[
    ("order", "deadline", false),
    ("payment", "page_deadline", false),
    ("payment", "charge", true),
    ("payment", "query_charge", true),
    ("payment", "open_page", true),
    ("payment", "query_page", true),
    ("payment", "close", true),
    ("payment", "refund", true),
];

/// An effect that is replayed by operators has an outcome each time.
const OUTCOMES_MAX: u64 = 4;

/// Charge, then questions about it, then its refund.
const DETOURS_MAX: usize = 4;

/// Where an input came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The event at the beginning of the detour.
    pub(super) event: Uuid,
    /// `charge answered`, `charge answered, query_charge answered`, `timer deadline`.
    pub(super) via: String,
}

/// Ids of all inputs that these events of one saga can lead to by way of effects and timers.
pub(super) fn detours(saga: &str, events: impl IntoIterator<Item = Uuid>) -> BTreeMap<Uuid, Origin> {
    let mut found = BTreeMap::new();
    let mut frontier: Vec<(Uuid, Option<&str>, Origin)> = events
        .into_iter()
        .map(|event| {
            let via = String::new();
            (event, None, Origin { event, via })
        })
        .collect();
    for _ in 0..DETOURS_MAX {
        let mut further = Vec::new();
        for (input, within, origin) in &frontier {
            let own = |participant: &str| within.is_none_or(|within| within == participant);
            for (participant, name, is_effect) in DETOURS.iter().filter(|detour| own(detour.0)) {
                let output = of_output(participant, saga, *input, name, 0);
                let step = if *is_effect {
                    format!("{name} answered")
                } else {
                    format!("timer {name}")
                };
                let via = if origin.via.is_empty() {
                    step
                } else {
                    format!("{}, {step}", origin.via)
                };
                let inputs: Vec<Uuid> = if *is_effect {
                    (1..=OUTCOMES_MAX).map(|n| of_outcome(output, n)).collect()
                } else {
                    vec![output]
                };
                for input in inputs {
                    let origin = Origin {
                        event: origin.event,
                        via: via.clone(),
                    };
                    found.entry(input).or_insert_with(|| origin.clone());
                    further.push((input, Some(*participant), origin));
                }
            }
        }
        frontier = further;
        // Each round has some thirty times as many; nobody waits for the fourth with many events.
        if frontier.len() > 20_000 {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_leads_back_to_the_event_that_asked_for_it() {
        let reserved = Uuid::from_u128(7);
        let charge = of_output("payment", "o-1", reserved, "charge", 0);
        let query = of_output("payment", "o-1", of_outcome(charge, 1), "query_charge", 0);
        let deadline = of_output("order", "o-1", reserved, "deadline", 0);
        let found = detours("o-1", [reserved, Uuid::from_u128(8)]);
        let via = |id: Uuid| found.get(&id).map(|origin| (origin.event, origin.via.as_str()));
        assert_eq!(via(of_outcome(charge, 1)), Some((reserved, "charge answered")));
        assert_eq!(
            via(of_outcome(query, 2)),
            Some((reserved, "charge answered, query_charge answered"))
        );
        assert_eq!(via(deadline), Some((reserved, "timer deadline")));
        assert_eq!(via(Uuid::from_u128(9)), None);
    }
}
