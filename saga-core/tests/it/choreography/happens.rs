use saga_core::choreography::{Check, Recorder};
use saga_core::testkit::given;

use super::cast::{self, BOASTING, DeskIn, Lend, SOUND, UNDECLARED, UNDOES_NOTHING};
use super::{library, only, places, seen, watch};
use crate::play::Of;

#[test]
fn what_is_declared_and_never_done_is_found() {
    let found = only(
        &library::<BOASTING, SOUND>(),
        &seen::<BOASTING, SOUND>(),
        Check::NeverHappens,
    );
    assert_eq!(found.at, "desk on Held");
    assert_eq!(found.what, "Withdrawn is declared, and was never put out");
}

#[test]
fn what_is_done_and_not_declared_is_found() {
    let observed = seen::<SOUND, UNDECLARED>();
    let found = places(&library::<SOUND, UNDECLARED>(), &observed, Check::NotDeclared);
    assert_eq!(found, ["shelf on Requested"]);
    // Nobody names it, and somebody waits for it.
    let never = places(&library::<SOUND, UNDECLARED>(), &observed, Check::NeverHappens);
    assert_eq!(never, ["shelf's Short"]);
    let unsaid = places(&library::<SOUND, UNDECLARED>(), &observed, Check::NobodySays);
    assert_eq!(unsaid, ["desk's Short"]);
}

#[test]
fn an_input_that_was_never_decided_is_found() {
    let recorder = Recorder::default();
    watch::<cast::Desk<SOUND>>(&recorder, &cast::desk_inputs()[..3]);
    watch::<cast::Shelf<SOUND>>(&recorder, &cast::shelf_inputs());
    let found = only(
        &library::<SOUND, SOUND>(),
        &recorder.observed(),
        Check::NeverHappens,
    );
    assert_eq!(
        (found.at.as_str(), found.what.as_str()),
        ("desk on Deadline", "it was never decided")
    );
}

#[test]
fn an_undoing_that_never_comes_after_what_it_undoes_is_found() {
    let found = only(
        &library::<UNDOES_NOTHING, SOUND>(),
        &seen::<UNDOES_NOTHING, SOUND>(),
        Check::NeverHappens,
    );
    assert_eq!(found.at, "desk on Short");
    assert!(found.what.starts_with("it undoes Withdrawn"), "{found}");
}

#[test]
fn a_participant_that_nobody_watched_is_found() {
    let recorder = Recorder::default();
    watch::<cast::Desk<SOUND>>(&recorder, &cast::desk_inputs());
    let found = places(
        &library::<SOUND, SOUND>(),
        &recorder.observed(),
        Check::NeverHappens,
    );
    assert_eq!(found, ["shelf"]);
}

/// The same participant in any harness.
#[test]
fn a_watched_participant_plays_in_a_table_test() {
    let recorder = Recorder::default();
    let desk = recorder.watch(Of::<cast::Desk<SOUND>>::default());
    given(&desk)
        .when(DeskIn::Lend(Lend))
        .leaves(&1)
        .and([])
        .when(DeskIn::Deadline)
        .leaves(&3);
    let observed = recorder.observed();
    assert_eq!(
        observed.edges().into_iter().collect::<Vec<_>>(),
        [
            ("desk", "Deadline", "Withdrawn"),
            ("desk", "Lend", "Deadline"),
            ("desk", "Lend", "Requested")
        ]
    );
    assert_eq!(observed.states("desk"), 3);
}

#[test]
fn a_walk_has_a_bound() {
    let recorder = Recorder::default();
    let desk = Of::<cast::Desk<SOUND>>::default();
    let error = recorder
        .walk(&desk, [], &cast::desk_inputs(), 2)
        .expect_err("it has four states");
    assert_eq!((error.participant, error.limit), ("desk", 2));
}
