use saga_core::choreography::{Check, Choreography, Recorder};
use saga_core::{Effect, Event, Inputs, Outputs, RetryPolicy, Step, Timer, steps};
use serde::{Deserialize, Serialize};

use super::cast::{Desk, Held, Lend, SOUND, Shelf};
use super::{TOPICS, library, only, places, seen, watch};
use crate::play::{Of, Play};

#[test]
fn an_event_that_nobody_hears_is_found() {
    let without_reason = Choreography::new("library")
        .participant::<Of<Desk<SOUND>>>()
        .participant::<Of<Shelf<SOUND>>>()
        .topics(TOPICS)
        .entry::<Of<Desk<SOUND>>>("Lend", "a reader")
        .for_observers("loan.lent", "the reader, who has it");
    let found = only(&without_reason, &seen::<SOUND, SOUND>(), Check::NobodyHears);
    assert_eq!(found.at, "shelf's copy.back");
    assert!(found.what.contains("on shelf-events"), "{found}");
    assert!(found.advice.contains("for_observers"), "{found}");
}

#[test]
fn an_event_that_nobody_says_is_found() {
    let alone = Choreography::new("library")
        .participant::<Of<Desk<SOUND>>>()
        .topics(TOPICS)
        .entry::<Of<Desk<SOUND>>>("Lend", "a reader");
    let observed = seen::<SOUND, SOUND>();
    assert_eq!(
        places(&alone, &observed, Check::NobodySays),
        ["desk's Held", "desk's Short"]
    );
    let told = alone
        .published_elsewhere("copy.held", "a shelf of another house")
        .published_elsewhere("copy.short", "a shelf of another house");
    assert!(places(&told, &observed, Check::NobodySays).is_empty());
}

#[test]
fn a_command_that_nobody_gives_is_found() {
    let closed = Choreography::new("library")
        .participant::<Of<Desk<SOUND>>>()
        .participant::<Of<Shelf<SOUND>>>()
        .topics(TOPICS)
        .for_observers("copy.back", "whoever sorts the shelves")
        .for_observers("loan.lent", "the reader, who has it");
    let found = only(&closed, &seen::<SOUND, SOUND>(), Check::NobodySays);
    assert_eq!(found.at, "desk's Lend");
}

#[test]
fn what_is_said_of_the_whole_and_is_not_so_is_found() {
    let boasts = library::<SOUND, SOUND>()
        .for_observers("copy.held", "the desk hears it")
        .for_observers("copy.sold", "nobody says it")
        .published_elsewhere("copy.short", "the shelf says it")
        .published_elsewhere("copy.burnt", "nobody hears it")
        .entry::<Of<Desk<SOUND>>>("Held", "it is no command")
        .holds_nothing("copy.short", "a refusal holds nothing anyway")
        .may_wait::<Of<Desk<SOUND>>>("it has a deadline");
    let at = places(&boasts, &seen::<SOUND, SOUND>(), Check::Stale);
    assert_eq!(
        at,
        [
            "copy.burnt",
            "copy.held",
            "copy.short",
            "copy.short",
            "copy.sold",
            "desk",
            "desk's Held"
        ]
    );
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Chime;

impl Effect for Chime {
    const KIND: &'static str = "chime";
    const POLICY: RetryPolicy = RetryPolicy::INTERACTIVE;
    type Answer = bool;
}

#[derive(Clone, Debug, PartialEq, Eq, Inputs)]
enum BellIn {
    #[command]
    Ring(Lend),
    #[timer]
    Noon,
    #[result]
    Tolled(saga_core::Outcome<Toll>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Toll;

impl Effect for Toll {
    const KIND: &'static str = "toll";
    const POLICY: RetryPolicy = RetryPolicy::INTERACTIVE;
    type Answer = bool;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
enum BellOut {
    #[effect]
    Chime(Chime),
    #[timer]
    Midnight(Timer),
}

/// It sets a timer that it does not hear, and hears one that it does not set; the same with effects.
#[derive(Debug)]
struct Bell;

impl Play for Bell {
    const NAME: &'static str = "bell";
    const STEPS: &'static [Step] = steps! { BellIn, BellOut;
        Ring   => [Chime, Midnight];
        Noon   => [];
        Tolled => [];
    };
    type In = BellIn;
    type Out = BellOut;

    fn play(_: u8, input: &BellIn) -> Option<(u8, Vec<BellOut>)> {
        let timer = Timer::In(std::time::Duration::from_secs(1));
        match input {
            BellIn::Ring(_) => Some((1, vec![BellOut::Chime(Chime), BellOut::Midnight(timer)])),
            BellIn::Noon | BellIn::Tolled(_) => None,
        }
    }

    fn ended(_: u8) -> bool {
        true
    }
}

#[test]
fn timers_and_effects_meet_their_inputs_too() {
    let recorder = Recorder::default();
    watch::<Bell>(&recorder, &[BellIn::Ring(Lend)]);
    let tower = Choreography::new("tower")
        .participant::<Of<Bell>>()
        .entry::<Of<Bell>>("Ring", "a child");
    let observed = recorder.observed();
    assert_eq!(
        places(&tower, &observed, Check::NobodyHears),
        ["bell's chime", "bell's midnight"]
    );
    assert_eq!(
        places(&tower, &observed, Check::NobodySays),
        ["bell's Noon", "bell's Tolled"]
    );
}

/// The shelf's event, one version on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "shelf-events", name = "copy.held", version = 2, key = loan, upcast(1 => of_old))]
struct HeldInTwo {
    loan: String,
}

fn of_old(old: Held) -> HeldInTwo {
    HeldInTwo { loan: old.loan }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
enum NewOut {
    #[event]
    Held(HeldInTwo),
}

#[derive(Clone, Debug, PartialEq, Eq, Inputs)]
enum NewIn {
    #[command]
    Hold(Lend),
}

#[derive(Debug)]
struct NewShelf;

impl Play for NewShelf {
    const NAME: &'static str = "new shelf";
    const STEPS: &'static [Step] = steps! { NewIn, NewOut;
        Hold => [Held];
    };
    type In = NewIn;
    type Out = NewOut;

    fn play(at: u8, _: &NewIn) -> Option<(u8, Vec<NewOut>)> {
        let held = HeldInTwo { loan: "l-1".into() };
        (at == 0).then(|| (1, vec![NewOut::Held(held)]))
    }

    fn ended(_: u8) -> bool {
        true
    }
}

#[test]
fn a_version_that_its_consumer_does_not_read_is_found() {
    let mixed = Choreography::new("library")
        .participant::<Of<Desk<SOUND>>>()
        .participant::<Of<NewShelf>>();
    let recorder = Recorder::default();
    watch::<NewShelf>(&recorder, &[NewIn::Hold(Lend)]);
    let mut observed = seen::<SOUND, SOUND>();
    observed.merge(recorder.observed());
    let found = super::findings(&mixed, &observed);
    let said = found
        .iter()
        .find(|finding| finding.at == "new shelf's copy.held")
        .expect("found");
    assert_eq!(said.check, Check::NobodyHears);
    assert_eq!(said.what, "it is written in version 2, and desk reads up to 1");
}
