use std::time::Duration;

use saga_core::choreography::{Check, Choreography, Recorder};
use saga_core::{Effect, Event, Inputs, Outcome, Outputs, RetryPolicy, Role, Step, Timer, Topic, steps};
use serde::{Deserialize, Serialize};

use super::cast::{CANCELS_ONLY, Lend, NO_DEADLINE, SOUND, event};
use super::{findings, library, places, seen, watch};
use crate::play::{Of, Play};

#[test]
fn a_wait_without_a_deadline_is_found() {
    let observed = seen::<NO_DEADLINE, SOUND>();
    // The shelf waits for the desk, which waits for the shelf.
    let found = places(
        &library::<NO_DEADLINE, SOUND>(),
        &observed,
        Check::WaitWithoutDeadline,
    );
    assert_eq!(found, ["desk in 1", "shelf in 1"]);
    let found = findings(&library::<NO_DEADLINE, SOUND>(), &observed);
    let shelf = found
        .iter()
        .find(|finding| finding.at == "shelf in 1")
        .expect("found");
    assert!(shelf.what.contains("only Withdrawn leads out"), "{shelf}");

    let patient =
        library::<NO_DEADLINE, SOUND>().may_wait::<Of<super::cast::Shelf<SOUND>>>("a copy may be held");
    assert_eq!(
        places(&patient, &observed, Check::WaitWithoutDeadline),
        ["desk in 1"]
    );
}

#[test]
fn a_deadline_that_is_never_set_is_none() {
    let found = places(
        &library::<CANCELS_ONLY, SOUND>(),
        &seen::<CANCELS_ONLY, SOUND>(),
        Check::WaitWithoutDeadline,
    );
    assert_eq!(found, ["desk in 1", "shelf in 1"]);
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Ask;

impl Effect for Ask {
    const KIND: &'static str = "ask";
    const POLICY: RetryPolicy = RetryPolicy {
        attempts: u32::MAX,
        ..RetryPolicy::INTERACTIVE
    };
    type Answer = bool;
}

#[derive(Clone, Debug, PartialEq, Eq, Inputs)]
enum PollIn {
    #[command]
    Begin(Lend),
    #[timer]
    Again,
    #[result]
    Asked(Outcome<Ask>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
enum PollOut {
    #[timer]
    Again(Timer),
    #[effect]
    Ask(Ask),
}

/// Asks, waits, and asks again: up to `TIMES`, or for ever if that is 0.
#[derive(Debug)]
struct Poll<const TIMES: u8>;

impl<const TIMES: u8> Play for Poll<TIMES> {
    const NAME: &'static str = "poll";
    const STEPS: &'static [Step] = steps! { PollIn, PollOut;
        Begin => [Ask];
        Again => [Ask];
        Asked => [Again];
    };
    type In = PollIn;
    type Out = PollOut;

    fn play(at: u8, input: &PollIn) -> Option<(u8, Vec<PollOut>)> {
        let wait = PollOut::Again(Timer::In(Duration::from_secs(1)));
        Some(match (at, input) {
            (0, PollIn::Begin(_)) => (1, vec![PollOut::Ask(Ask)]),
            (at, PollIn::Asked(Outcome::Answered(true))) if at > 0 => (u8::MAX, vec![]),
            (at, PollIn::Asked(_)) if at % 2 == 1 && at < 250 => (at + 1, vec![wait]),
            (at, PollIn::Again) if at > 0 && at % 2 == 0 => match TIMES {
                0 => (1, vec![PollOut::Ask(Ask)]),
                times if at < times * 2 => (at + 1, vec![PollOut::Ask(Ask)]),
                _ => (u8::MAX, vec![]),
            },
            _ => return None,
        })
    }

    fn ended(at: u8) -> bool {
        at == u8::MAX
    }
}

fn polling<const TIMES: u8>() -> Vec<(String, String)> {
    let recorder = Recorder::default();
    let answered = |yes| PollIn::Asked(Outcome::Answered(yes));
    let inputs = [
        PollIn::Begin(Lend),
        PollIn::Again,
        answered(true),
        answered(false),
    ];
    watch::<Poll<TIMES>>(&recorder, &inputs);
    let choreography = Choreography::new("polls")
        .participant::<Of<Poll<TIMES>>>()
        .entry::<Of<Poll<TIMES>>>("Begin", "somebody");
    let found = findings(&choreography, &recorder.observed());
    assert!(
        found
            .iter()
            .all(|finding| finding.check == Check::LoopWithoutBound),
        "{found:#?}"
    );
    found
        .into_iter()
        .map(|finding| (finding.at, finding.what))
        .collect()
}

#[test]
fn a_loop_without_a_bound_is_found() {
    let found = polling::<0>();
    assert_eq!(found[0].0, "poll on Again");
    assert!(
        found[0]
            .1
            .ends_with("poll on Again puts out Ask, poll on Asked puts out Again"),
        "{found:?}"
    );
}

#[test]
fn a_loop_that_counts_is_bounded() {
    let found = polling::<3>();
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn an_effect_that_is_tried_for_ever_is_a_loop() {
    assert_eq!(
        polling::<3>(),
        [("poll's ask".to_owned(), "it is tried for ever".to_owned())]
    );
}

event!(Asked, "reader-events", "reader.asked");
event!(Told, "phone-events", "phone.told");

/// With a number of attempts that can be counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Call;

impl Effect for Call {
    const KIND: &'static str = "call";
    const POLICY: RetryPolicy = RetryPolicy::INTERACTIVE;
    const ROLE: Role = Role::Asks;
    type Answer = ();
}

#[derive(Clone, Debug, PartialEq, Eq, Inputs)]
enum ReaderIn {
    #[command]
    Begin(Lend),
    #[event]
    Told(Told),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
enum ReaderOut {
    #[event]
    Asked(Asked),
}

#[derive(Debug)]
struct Reader;

impl Play for Reader {
    const NAME: &'static str = "reader";
    const STEPS: &'static [Step] = steps! { ReaderIn, ReaderOut;
        Begin => [Asked];
        Told  => [];
    };
    type In = ReaderIn;
    type Out = ReaderOut;

    fn play(at: u8, input: &ReaderIn) -> Option<(u8, Vec<ReaderOut>)> {
        match (at, input) {
            (0, ReaderIn::Begin(_)) => Some((1, vec![ReaderOut::Asked(Asked::it())])),
            (1, ReaderIn::Told(_)) => Some((2, vec![])),
            _ => None,
        }
    }

    fn ended(at: u8) -> bool {
        at == 2
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Inputs)]
enum PhoneIn {
    #[event]
    Asked(Asked),
    #[result]
    Called(Outcome<Call>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
enum PhoneOut {
    #[effect]
    Call(Call),
    #[event]
    Told(Told),
}

#[derive(Debug)]
struct Phone;

impl Play for Phone {
    const NAME: &'static str = "phone";
    const STEPS: &'static [Step] = steps! { PhoneIn, PhoneOut;
        Asked  => [Call];
        Called => [Told];
    };
    type In = PhoneIn;
    type Out = PhoneOut;

    fn play(at: u8, input: &PhoneIn) -> Option<(u8, Vec<PhoneOut>)> {
        match (at, input) {
            (0, PhoneIn::Asked(_)) => Some((1, vec![PhoneOut::Call(Call)])),
            (1, PhoneIn::Called(_)) => Some((2, vec![PhoneOut::Told(Told::it())])),
            _ => None,
        }
    }

    fn ended(at: u8) -> bool {
        at == 2
    }
}

/// The reader has no clock, and whom it has asked has one.
#[test]
fn the_clock_of_whoever_was_told_ends_a_wait() {
    let recorder = Recorder::default();
    watch::<Reader>(&recorder, &[ReaderIn::Begin(Lend), ReaderIn::Told(Told::it())]);
    let called = PhoneIn::Called(Outcome::Answered(()));
    watch::<Phone>(&recorder, &[PhoneIn::Asked(Asked::it()), called]);
    let asking = Choreography::new("asking")
        .participant::<Of<Reader>>()
        .participant::<Of<Phone>>()
        .topics(&[Topic::new("reader-events"), Topic::new("phone-events")])
        .entry::<Of<Reader>>("Begin", "somebody");
    assert_eq!(findings(&asking, &recorder.observed()), []);
}
