use saga_core::Event;
use saga_core::choreography::{Check, Choreography, Observed, Recorder};
use saga_core::{Effect, Inputs, Outcome, Outputs, RetryPolicy, Role, Step, steps};
use serde::{Deserialize, Serialize};

use super::cast::{Held, NOT_UNDOING, SILENT, SOUND, Withdrawn, event};
use super::{findings, library, only, seen, watch};
use crate::play::{Of, Play};

#[test]
fn what_is_held_and_never_undone_is_found() {
    let found = only(
        &library::<SOUND, NOT_UNDOING>(),
        &seen::<SOUND, NOT_UNDOING>(),
        Check::NoWayBack,
    );
    assert_eq!(found.at, "shelf's copy.held");
    assert_eq!(
        found.what,
        "after it, desk on Deadline may turn the saga back at any time; and no step of shelf undoes it"
    );
    let free = library::<SOUND, NOT_UNDOING>().holds_nothing("copy.held", "it is a note on paper");
    assert_eq!(free.check(&seen::<SOUND, NOT_UNDOING>()), Ok(()));
}

#[test]
fn a_way_back_that_is_not_reached_is_found() {
    let found = findings(&library::<SILENT, SOUND>(), &seen::<SILENT, SOUND>());
    let held = found
        .iter()
        .find(|finding| finding.check == Check::NoWayBack)
        .expect("found");
    assert_eq!(held.at, "shelf's copy.held");
    assert!(
        held.what
            .ends_with("what follows does not reach shelf on Withdrawn, which undoes it"),
        "{held}"
    );
}

/// Takes a fee once a copy is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Fee<const ROLE: u8>;

const ACTS: u8 = 0;
const TELLS: u8 = 1;

impl<const ROLE: u8> Effect for Fee<ROLE> {
    const KIND: &'static str = "fee";
    const POLICY: RetryPolicy = RetryPolicy::INTERACTIVE;
    const ROLE: Role = if ROLE == ACTS { Role::Acts } else { Role::Tells };
    type Answer = bool;
}

event!(Refused, "till-events", "fee.refused", refusal);

#[derive(Clone, Debug, PartialEq, Eq, Inputs)]
enum TillIn {
    #[event]
    Held(Held),
    #[event]
    Withdrawn(Withdrawn),
    #[result]
    Taken(Outcome<Fee<ACTS>>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
enum TillOut {
    #[effect]
    Fee(Fee<ACTS>),
    #[event]
    Refused(Refused),
}

/// 1: asked for the fee; 2: it is there; 3: it is not.
#[derive(Debug)]
struct Till;

impl Play for Till {
    const NAME: &'static str = "till";
    const STEPS: &'static [Step] = steps! { TillIn, TillOut;
        Held      => [Fee];
        Withdrawn => [];
        Taken     => [Refused];
    };
    type In = TillIn;
    type Out = TillOut;

    fn play(at: u8, input: &TillIn) -> Option<(u8, Vec<TillOut>)> {
        Some(match (at, input) {
            (0, TillIn::Held(_)) => (1, vec![TillOut::Fee(Fee)]),
            (1, TillIn::Taken(Outcome::Answered(true))) => (2, vec![]),
            (1, TillIn::Taken(_)) => (3, vec![TillOut::Refused(Refused::it())]),
            _ => return None,
        })
    }

    fn ended(at: u8) -> bool {
        at >= 2
    }
}

fn with_till() -> Choreography {
    library::<SOUND, SOUND>()
        .participant::<Of<Till>>()
        .topics(&[saga_core::Topic::new("till-events")])
        .for_observers("fee.refused", "nobody acts on it, which is what is wrong")
}

fn till_seen() -> Observed {
    let recorder = Recorder::default();
    let taken = |yes| TillIn::Taken(Outcome::Answered(yes));
    watch::<Till>(
        &recorder,
        &[
            TillIn::Held(Held::it()),
            TillIn::Withdrawn(Withdrawn::it()),
            taken(true),
            taken(false),
        ],
    );
    let mut observed = seen::<SOUND, SOUND>();
    observed.merge(recorder.observed());
    observed
}

/// The fee may be refused after the copy is held, and nobody hears of it; and the reader who gives up does not get the
/// fee back.
#[test]
fn an_effect_that_may_be_refused_needs_a_way_back_for_what_was_before_it() {
    let found = findings(&with_till(), &till_seen());
    let told: Vec<_> = found
        .iter()
        .map(|finding| (finding.check, finding.at.as_str(), finding.what.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (
                Check::NoWayBack,
                "desk's loan.requested",
                "after it, fee may be refused; and what follows does not reach desk on Short, which undoes it"
            ),
            (
                Check::NoWayBack,
                "shelf's copy.held",
                "after it, fee may be refused; and what follows does not reach shelf on Withdrawn, which undoes it"
            ),
            (
                Check::NoWayBack,
                "till's fee",
                "after it, desk on Deadline may turn the saga back at any time; and no step of till undoes it"
            ),
        ]
    );
}

#[derive(Clone, Debug, PartialEq, Eq, Inputs)]
enum ClerkIn {
    #[event]
    Held(Held),
    #[result]
    Told(Outcome<Fee<TELLS>>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
enum ClerkOut {
    #[effect]
    Tell(Fee<TELLS>),
}

/// Tells the reader that a copy is there. The loan goes on whatever comes of it.
#[derive(Debug)]
struct Clerk;

impl Play for Clerk {
    const NAME: &'static str = "clerk";
    const STEPS: &'static [Step] = steps! { ClerkIn, ClerkOut;
        Held => [Tell];
        Told => [];
    };
    type In = ClerkIn;
    type Out = ClerkOut;

    fn play(at: u8, input: &ClerkIn) -> Option<(u8, Vec<ClerkOut>)> {
        Some(match (at, input) {
            (0, ClerkIn::Held(_)) => (1, vec![ClerkOut::Tell(Fee)]),
            (1, ClerkIn::Told(_)) => (2, vec![]),
            _ => return None,
        })
    }

    fn ended(at: u8) -> bool {
        at == 2
    }
}

#[test]
fn what_only_tells_needs_no_way_back() {
    let recorder = Recorder::default();
    watch::<Clerk>(
        &recorder,
        &[ClerkIn::Held(Held::it()), ClerkIn::Told(Outcome::Answered(true))],
    );
    let mut observed = seen::<SOUND, SOUND>();
    observed.merge(recorder.observed());
    let choreography = library::<SOUND, SOUND>().participant::<Of<Clerk>>();
    assert_eq!(choreography.check(&observed), Ok(()));
}

/// A refusal that is not marked as one looks like something that was done.
#[test]
fn the_advice_names_what_may_be_missing() {
    let found = findings(&library::<SOUND, NOT_UNDOING>(), &seen::<SOUND, NOT_UNDOING>());
    for word in ["undoes [..]", "refusal", "holds_nothing"] {
        assert!(found[0].advice.contains(word), "{}", found[0]);
    }
}

/// Gives the fee back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct GiveBack;

impl Effect for GiveBack {
    const KIND: &'static str = "give_back";
    const POLICY: RetryPolicy = RetryPolicy::PERSISTENT;
    type Answer = bool;
}

#[derive(Clone, Debug, PartialEq, Eq, Inputs)]
enum KindIn {
    #[event]
    Held(Held),
    #[event]
    Withdrawn(Withdrawn),
    #[result]
    Taken(Outcome<Fee<ACTS>>),
    #[result]
    GivenBack(Outcome<GiveBack>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
enum KindOut {
    #[effect]
    Fee(Fee<ACTS>),
    #[effect]
    GiveBack(GiveBack),
}

/// A till that gives the fee back: at once, or when it knows that it has it.
#[derive(Debug)]
struct KindTill;

impl Play for KindTill {
    const NAME: &'static str = "till";
    const STEPS: &'static [Step] = steps! { KindIn, KindOut;
        Held      => [Fee];
        Withdrawn => [GiveBack] undoes [Fee];
        Taken     => [GiveBack];
        GivenBack => [];
    };
    type In = KindIn;
    type Out = KindOut;

    fn play(at: u8, input: &KindIn) -> Option<(u8, Vec<KindOut>)> {
        Some(match (at, input) {
            (0, KindIn::Held(_)) => (1, vec![KindOut::Fee(Fee)]),
            (1, KindIn::Withdrawn(_)) => (2, vec![]),
            (1, KindIn::Taken(_)) => (3, vec![]),
            (2, KindIn::Taken(_)) | (3, KindIn::Withdrawn(_)) => (4, vec![KindOut::GiveBack(GiveBack)]),
            (4, KindIn::GivenBack(_)) => (5, vec![]),
            _ => return None,
        })
    }

    fn ended(at: u8) -> bool {
        matches!(at, 3 | 5)
    }
}

/// Undone it is; but that it may be refused is still of no consequence for the copy.
#[test]
fn an_effect_that_is_undone_has_its_way_back() {
    let recorder = Recorder::default();
    watch::<KindTill>(
        &recorder,
        &[
            KindIn::Held(Held::it()),
            KindIn::Withdrawn(Withdrawn::it()),
            KindIn::Taken(Outcome::Answered(true)),
            KindIn::GivenBack(Outcome::Answered(true)),
        ],
    );
    let mut observed = seen::<SOUND, SOUND>();
    observed.merge(recorder.observed());
    let choreography = library::<SOUND, SOUND>().participant::<Of<KindTill>>();
    let at: Vec<_> = findings(&choreography, &observed)
        .into_iter()
        .map(|finding| finding.at)
        .collect();
    assert_eq!(at, ["desk's loan.requested", "shelf's copy.held"]);
}
