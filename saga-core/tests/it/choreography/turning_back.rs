use saga_core::choreography::Recorder;
use saga_core::{Event, Inputs, Outputs, Step, steps};
use serde::{Deserialize, Serialize};

use super::cast::{Held, SOUND, event};
use super::{findings, library, seen, watch};
use crate::play::{Of, Play};

event!(Barred, "till-events", "reader.barred", refusal);
event!(Noted, "till-events", "loan.noted");
event!(Flawed, "till-events", "copy.flawed");

#[derive(Clone, Debug, PartialEq, Eq, Inputs)]
enum GuardIn {
    #[event]
    Held(Held),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
enum GuardOut {
    #[event]
    Barred(Barred),
}

/// Says no to a reader, without any effect.
#[derive(Debug)]
struct Guard;

impl Play for Guard {
    const NAME: &'static str = "guard";
    const STEPS: &'static [Step] = steps! { GuardIn, GuardOut; Held => [Barred]; };
    type In = GuardIn;
    type Out = GuardOut;

    fn play(at: u8, _: &GuardIn) -> Option<(u8, Vec<GuardOut>)> {
        (at == 0).then(|| (1, vec![GuardOut::Barred(Barred::it())]))
    }

    fn ended(_: u8) -> bool {
        true
    }
}

#[test]
fn a_refusal_needs_a_way_back_for_what_was_before_it() {
    let recorder = Recorder::default();
    watch::<Guard>(&recorder, &[GuardIn::Held(Held::it())]);
    let mut observed = seen::<SOUND, SOUND>();
    observed.merge(recorder.observed());
    let choreography = library::<SOUND, SOUND>()
        .participant::<Of<Guard>>()
        .topics(&[saga_core::Topic::new("till-events")])
        .for_observers("reader.barred", "nobody acts on it, which is what is wrong");
    let found = findings(&choreography, &observed);
    let told: Vec<_> = found
        .iter()
        .map(|finding| (finding.at.as_str(), finding.what.as_str()))
        .collect();
    assert_eq!(told.len(), 2, "{found:#?}");
    assert_eq!(told[1].0, "shelf's copy.held");
    assert!(
        told[1].1.starts_with("after it, reader.barred may be said"),
        "{}",
        told[1].1
    );
}

#[derive(Clone, Debug, PartialEq, Eq, Inputs)]
enum NoteIn {
    #[event]
    Held(Held),
    #[event]
    Flawed(Flawed),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
enum NoteOut {
    #[event]
    Noted(Noted),
    #[event]
    Flawed(Flawed),
}

/// Notes a loan, and strikes the note when the copy turns out to have a flaw; the shelf does not hear of it.
#[derive(Debug)]
struct Notebook;

impl Play for Notebook {
    const NAME: &'static str = "notebook";
    const STEPS: &'static [Step] = steps! { NoteIn, NoteOut;
        Held   => [Noted, Flawed];
        Flawed => [] undoes [Noted];
    };
    type In = NoteIn;
    type Out = NoteOut;

    fn play(at: u8, input: &NoteIn) -> Option<(u8, Vec<NoteOut>)> {
        Some(match (at, input) {
            (0, NoteIn::Held(_)) => (
                1,
                vec![NoteOut::Noted(Noted::it()), NoteOut::Flawed(Flawed::it())],
            ),
            (1, NoteIn::Flawed(_)) => (2, vec![]),
            _ => return None,
        })
    }

    fn ended(_: u8) -> bool {
        true
    }
}

#[test]
fn what_turns_back_has_to_turn_all_back() {
    let recorder = Recorder::default();
    watch::<Notebook>(
        &recorder,
        &[NoteIn::Held(Held::it()), NoteIn::Flawed(Flawed::it())],
    );
    let mut observed = seen::<SOUND, SOUND>();
    observed.merge(recorder.observed());
    let choreography = library::<SOUND, SOUND>()
        .participant::<Of<Notebook>>()
        .topics(&[saga_core::Topic::new("till-events")])
        .for_observers("loan.noted", "whoever counts loans");
    let found = findings(&choreography, &observed);
    let held = found
        .iter()
        .find(|finding| finding.at == "shelf's copy.held")
        .expect("found");
    assert!(
        held.what
            .starts_with("after it, notebook on Flawed turns the saga back"),
        "{held}"
    );
}
