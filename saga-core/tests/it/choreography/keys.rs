use saga_core::choreography::{Check, Choreography, Recorder};
use saga_core::{Event, Inputs, Outputs, Step, Topic, steps};
use serde::{Deserialize, Serialize};

use super::cast::{ASTRAY, Desk, Requested, SOUND, Shelf};
use super::{TOPICS, library, only, places, seen, watch};
use crate::play::{Of, Play};

#[test]
fn topics_of_one_saga_with_different_partitions_are_found() {
    let few = Topic {
        partitions: 3,
        ..TOPICS[1]
    };
    let uneven = Choreography::new("library")
        .participant::<Of<Desk<SOUND>>>()
        .participant::<Of<Shelf<SOUND>>>()
        .topics(&[TOPICS[0], few])
        .entry::<Of<Desk<SOUND>>>("Lend", "a reader")
        .for_observers("copy.back", "whoever sorts the shelves")
        .for_observers("loan.lent", "the reader, who has it");
    let observed = seen::<SOUND, SOUND>();
    assert_eq!(places(&uneven, &observed, Check::KeysDiffer), ["desk", "shelf"]);
    let found = super::findings(&uneven, &observed);
    assert!(
        found[0]
            .what
            .ends_with("shelf-events have 3, desk-events have 12"),
        "{}",
        found[0]
    );
}

#[test]
fn a_topic_of_no_registry_is_found() {
    let unknown = Choreography::new("library")
        .participant::<Of<Desk<SOUND>>>()
        .participant::<Of<Shelf<SOUND>>>()
        .topics(&TOPICS[..1])
        .entry::<Of<Desk<SOUND>>>("Lend", "a reader")
        .for_observers("copy.back", "whoever sorts the shelves")
        .for_observers("loan.lent", "the reader, who has it");
    let found = only(&unknown, &seen::<SOUND, SOUND>(), Check::KeysDiffer);
    assert_eq!(found.at, "shelf-events");
}

#[test]
fn an_event_that_goes_out_under_another_key_is_found() {
    let found = only(
        &library::<ASTRAY, SOUND>(),
        &seen::<ASTRAY, SOUND>(),
        Check::KeysDiffer,
    );
    assert_eq!(found.at, "desk's Withdrawn");
}

fn requested() -> Requested {
    Requested {
        loan: "l-1".into(),
        is_there: true,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "fine-events", name = "reader.fined", key = reader)]
struct Fined {
    reader: String,
}

/// The same event, keyed as the saga is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "fine-events", name = "reader.fined", key = id as loan)]
struct FinedByLoan {
    id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Inputs)]
enum LateIn {
    #[event]
    Requested(Requested),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
enum LateOut {
    #[event]
    Fined(Fined),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
enum LateByLoanOut {
    #[event]
    Fined(FinedByLoan),
}

/// It hears of loans, and speaks of readers.
#[derive(Debug)]
struct Late;

impl Play for Late {
    const NAME: &'static str = "late";
    const STEPS: &'static [Step] = steps! { LateIn, LateOut; Requested => [Fined]; };
    type In = LateIn;
    type Out = LateOut;

    fn play(at: u8, _: &LateIn) -> Option<(u8, Vec<LateOut>)> {
        let fined = Fined { reader: "r-1".into() };
        (at == 0).then(|| (1, vec![LateOut::Fined(fined)]))
    }

    fn ended(_: u8) -> bool {
        true
    }
}

/// It speaks of loans, by another field.
#[derive(Debug)]
struct LateByLoan;

impl Play for LateByLoan {
    const NAME: &'static str = "late";
    const STEPS: &'static [Step] = steps! { LateIn, LateByLoanOut; Requested => [Fined]; };
    type In = LateIn;
    type Out = LateByLoanOut;

    fn play(at: u8, _: &LateIn) -> Option<(u8, Vec<LateByLoanOut>)> {
        let fined = FinedByLoan { id: "l-1".into() };
        (at == 0).then(|| (1, vec![LateByLoanOut::Fined(fined)]))
    }

    fn ended(_: u8) -> bool {
        true
    }
}

/// It counts loans for a statistic, which is no saga.
#[derive(Debug)]
struct Statistic;

impl Play for Statistic {
    const NAME: &'static str = "late";
    const STEPS: &'static [Step] = Late::STEPS;
    type In = LateIn;
    type Out = LateOut;

    fn play(at: u8, input: &LateIn) -> Option<(u8, Vec<LateOut>)> {
        Late::play(at, input)
    }

    fn ended(_: u8) -> bool {
        true
    }

    fn is_of_a_saga(_: &LateIn) -> bool {
        false
    }
}

fn keyed<P: Play<In = LateIn>>() -> Vec<String> {
    let recorder = Recorder::default();
    watch::<P>(&recorder, &[LateIn::Requested(requested())]);
    let choreography = Choreography::new("library")
        .participant::<Of<P>>()
        .topics(&[TOPICS[0], Topic::new("fine-events")]);
    let found = super::findings(&choreography, &recorder.observed());
    let found = found
        .into_iter()
        .filter(|finding| finding.at == "late" && finding.check == Check::KeysDiffer);
    found.map(|finding| finding.what).collect()
}

#[test]
fn topics_of_one_saga_with_different_keys_are_found() {
    assert_eq!(
        keyed::<Late>(),
        ["the topics of its saga are keyed differently: desk-events by loan, fine-events by reader"]
    );
    assert!(
        keyed::<LateByLoan>().is_empty(),
        "the field has another name, the key is the same"
    );
    assert!(keyed::<Statistic>().is_empty(), "it is of no saga");
}
