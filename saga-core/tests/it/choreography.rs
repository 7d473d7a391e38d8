//! A choreography of two: a desk that lends books and a shelf that holds them. The sound one passes; each of the
//! others is broken in one way, and the check for it says so.

use saga_core::Topic;
use saga_core::choreography::{Check, Choreography, Finding, Observed, Recorder};

use crate::play::{Of, Play};

/// Who plays.
mod cast;
/// Declared and done.
mod happens;
/// One saga, one key.
mod keys;
/// Loops and waits.
mod lasting;
/// Hearing and saying.
mod meeting;
/// As a picture, as a document, as data.
mod shown;
/// Who says no, or undoes, without an effect.
mod turning_back;
/// What was done can be undone.
mod way_back;

use cast::{Desk, SOUND, Shelf};

const TOPICS: &[Topic] = &[Topic::new("desk-events"), Topic::new("shelf-events")];

/// Desk and shelf with their flaws.
fn library<const D: u8, const S: u8>() -> Choreography {
    Choreography::new("library")
        .participant::<Of<Desk<D>>>()
        .participant::<Of<Shelf<S>>>()
        .topics(TOPICS)
        .entry::<Of<Desk<D>>>("Lend", "a reader")
        .for_observers("copy.back", "whoever sorts the shelves")
        .for_observers("loan.lent", "the reader, who has it")
}

/// What they do, with their flaws.
fn seen<const D: u8, const S: u8>() -> Observed {
    let recorder = Recorder::default();
    watch::<Desk<D>>(&recorder, &cast::desk_inputs());
    watch::<Shelf<S>>(&recorder, &cast::shelf_inputs());
    recorder.observed()
}

/// Each input in every state that they lead to.
fn watch<P: Play>(recorder: &Recorder, inputs: &[P::In]) {
    recorder
        .walk(&Of::<P>::default(), [], inputs, 100)
        .expect("few states");
}

fn findings(choreography: &Choreography, observed: &Observed) -> Vec<Finding> {
    choreography
        .check(observed)
        .err()
        .map_or_else(Vec::new, |unsound| unsound.findings)
}

/// Exactly one thing is wrong.
#[track_caller]
fn only(choreography: &Choreography, observed: &Observed, check: Check) -> Finding {
    let mut found = findings(choreography, observed);
    assert_eq!(found.len(), 1, "{found:#?}");
    let found = found.remove(0);
    assert_eq!(found.check, check, "{found}");
    found
}

/// The places of what a check found, whatever else is wrong.
fn places(choreography: &Choreography, observed: &Observed, check: Check) -> Vec<String> {
    findings(choreography, observed)
        .into_iter()
        .filter(|finding| finding.check == check)
        .map(|finding| finding.at)
        .collect()
}

#[test]
fn a_sound_choreography_passes() {
    assert_eq!(library::<SOUND, SOUND>().check(&seen::<SOUND, SOUND>()), Ok(()));
}

#[test]
fn what_is_unsound_says_all_of_it_at_once() {
    let unsound = Choreography::new("library")
        .participant::<Of<Desk<SOUND>>>()
        .check(&Observed::default())
        .expect_err("nothing was watched, and nobody answers");
    let text = unsound.to_string();
    for part in [
        "nobody hears it: desk's loan.requested",
        "nobody says it: desk's Held",
        "never happens: desk: it was not watched at all; run it in a model or a test with a Recorder",
    ] {
        assert!(text.contains(part), "{text}");
    }
}
