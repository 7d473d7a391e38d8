//! The loop over a batch, without a database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use saga_core::testkit::noon;
use saga_core::{At, Decision, Event, Fault, Inputs, Outputs, Participant, Rows, Step, Timer, View, steps};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::*;
use crate::record::Record;

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "t", name = "asked", key = id)]
struct Asked {
    id: String,
    shelf: String,
}

#[derive(Clone, Debug, Inputs)]
enum In {
    #[event]
    Asked(Asked),
    #[command]
    Refuse(String),
    /// Cancels the other one.
    #[timer]
    Bell,
    #[timer]
    Late,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
enum Out {
    #[event]
    Asked(Asked),
    #[timer]
    Late(Timer),
}

/// Takes one from the shelf that stands in the *state* at the second time: what is touched then cannot be
/// known when the batch is loaded.
#[derive(Debug)]
struct Taker;

impl Participant for Taker {
    const NAME: &'static str = "taker";
    const STEPS: &'static [Step] =
        steps! { In, Out; Asked => [Asked]; Refuse => []; Bell => [Late]; Late => [Asked]; };
    type Key = String;
    type State = Option<String>;
    type SharedKey = String;
    type Shared = u32;
    type Input = In;
    type Output = Out;
    type Reply = ();
    type Refusal = &'static str;

    fn key(&self, input: &In) -> Option<String> {
        match input {
            In::Asked(asked) => Some(asked.id.clone()),
            In::Refuse(id) => Some(id.clone()),
            In::Bell | In::Late => None,
        }
    }

    fn touches(&self, state: &Option<String>, _: &In) -> BTreeSet<String> {
        state.iter().cloned().collect()
    }

    fn decide(
        &self,
        state: Option<String>,
        shelf: &mut View<'_, String, u32>,
        at: At<In>,
    ) -> Result<Decision<Self>, Fault> {
        match (state, at.input) {
            (_, In::Refuse(_)) => Ok(Decision::refuse(
                Some("a refusal must not change this".into()),
                "no",
            )),
            (state, In::Bell) => Ok(Decision::to(state).emit(Out::Late(Timer::Cancel))),
            (state, In::Late) => Ok(Decision::to(state).emit(Out::Asked(Asked {
                id: "late".into(),
                shelf: "s".into(),
            }))),
            (None, In::Asked(asked)) => Ok(Decision::to(Some(asked.shelf.clone())).emit(Out::Asked(asked))),
            (Some(name), In::Asked(asked)) => {
                let left = shelf.get(&name)?.copied().unwrap_or(0);
                shelf.put(
                    name.clone(),
                    left.checked_sub(1).ok_or_else(|| Fault::impossible("empty"))?,
                )?;
                Ok(Decision::to(Some(name)).emit(Out::Asked(asked)))
            }
        }
    }

    fn is_ended(&self, _: &Option<String>) -> bool {
        false
    }
}

fn asked(id: &str, n: u128) -> Entry<Taker> {
    let input = In::Asked(Asked {
        id: id.into(),
        shelf: "s".into(),
    });
    let record = Record {
        topic: "t".into(),
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        key: Some(id.as_bytes().to_vec()),
        headers: Vec::new(),
        payload: None,
    };
    Entry {
        what: What::Input {
            input,
            saga: Some(id.into()),
        },
        origin: Origin::Record {
            record: Arc::new(record),
            applied: None,
            inbox: None,
        },
        id: Uuid::from_u128(n),
        traceparent: None,
    }
}

fn fired(id: &str, name: &str, input: In) -> Entry<Taker> {
    Entry {
        what: What::Input {
            input,
            saga: Some(id.into()),
        },
        origin: Origin::Timer {
            saga: id.into(),
            name: name.into(),
        },
        ..asked(id, 7)
    }
}

#[test]
fn a_timer_that_an_earlier_one_of_its_batch_cancelled_does_not_fire() {
    let late = |id| fired(id, "late", In::Late);
    let entries = [fired("a", "bell", In::Bell), late("a"), late("b")];
    let decided = decide(
        &Taker,
        "",
        &entries,
        loaded(&[("a", None), ("b", None)], &[]),
        noon(),
    );
    assert_eq!(decided.events.len(), 1, "that of the other saga");
    assert_eq!(decided.timers.len(), 1);
}

fn loaded(sagas: &[(&str, Option<&str>)], shelves: &[(&str, u32)]) -> Loaded<Taker> {
    Loaded {
        sagas: sagas
            .iter()
            .map(|(id, state)| ((*id).to_owned(), state.map(str::to_owned)))
            .collect::<BTreeMap<_, _>>(),
        shared: Rows::new(shelves.iter().map(|(id, n)| ((*id).to_owned(), Some(*n)))),
        parked: BTreeSet::new(),
        void: BTreeSet::new(),
    }
}

#[test]
fn a_row_that_nobody_could_know_of_ends_the_batch_before_its_entry() {
    let entries = [asked("a", 1), asked("a", 2), asked("b", 3)];
    let decided = decide(
        &Taker,
        "",
        &entries,
        loaded(&[("a", None), ("b", None)], &[]),
        noon(),
    );
    assert_eq!(decided.upto, 1);
    assert_eq!(decided.events.len(), 1);
    assert!(decided.parks.is_empty());
    // The second round begins there, and now it is known.
    let rest = decide(
        &Taker,
        "",
        &entries[1..],
        loaded(&[("a", Some("s")), ("b", None)], &[("s", 5)]),
        noon(),
    );
    assert_eq!(rest.upto, 2);
    assert_eq!(rest.shared, [("s".to_owned(), 4)]);
}

#[test]
fn a_row_that_touches_should_have_named_parks_instead_of_turning_in_circles() {
    let decided = decide(
        &Taker,
        "",
        &[asked("a", 1)],
        loaded(&[("a", Some("s"))], &[]),
        noon(),
    );
    assert_eq!(decided.upto, 1);
    assert!(
        decided.parks[0]
            .reason
            .as_deref()
            .is_some_and(|why| why.contains("touches"))
    );
}

#[test]
fn a_culprit_takes_its_successors_along_and_nobody_else() {
    let entries = [asked("a", 1), asked("b", 2), asked("a", 3), asked("b", 4)];
    let decided = decide(
        &Taker,
        "",
        &entries,
        loaded(&[("a", Some("s")), ("b", Some("full"))], &[("s", 0), ("full", 9)]),
        noon(),
    );
    let parks: Vec<(usize, bool)> = decided
        .parks
        .iter()
        .map(|park| (park.entry, park.reason.is_some()))
        .collect();
    assert_eq!(parks, [(0, true), (2, false)]);
    assert_eq!(decided.shared, [("full".to_owned(), 7)]);
    assert_eq!(decided.events.len(), 2);
}

#[test]
fn a_refusal_changes_nothing() {
    let command = Entry {
        what: What::Input {
            input: In::Refuse("a".into()),
            saga: Some("a".into()),
        },
        origin: Origin::Command(crate::Idempotency {
            owner: "o".into(),
            method: "m".into(),
            key: "k".into(),
            fingerprint: Vec::new(),
        }),
        id: Uuid::from_u128(1),
        traceparent: None,
    };
    let decided = decide(&Taker, "", &[command], loaded(&[("a", None)], &[]), noon());
    assert!(decided.sagas.is_empty());
    assert!(matches!(decided.replies[..], [(0, Reply::Refused("no"))]));
}

#[test]
fn the_same_cause_puts_out_the_same_ids() {
    let once = decide(
        &Taker,
        "p-",
        &[asked("a", 1)],
        loaded(&[("a", None)], &[]),
        noon(),
    );
    let again = decide(
        &Taker,
        "p-",
        &[asked("a", 1)],
        loaded(&[("a", None)], &[]),
        noon(),
    );
    assert_eq!(once.events, again.events);
    assert_eq!(once.events[0].topic, "p-t");
    let other = decide(
        &Taker,
        "p-",
        &[asked("a", 2)],
        loaded(&[("a", None)], &[]),
        noon(),
    );
    assert_ne!(once.events[0].id, other.events[0].id);
}
