//! A model that cannot fail proves nothing: a small choreography, with a mistake for each thing that a model finds.

/// Somebody asks, somebody answers by telephone.
mod question;
/// What was recorded of them.
mod record;

use question::{Answerer, Asker, Line, Mistake, ask, give_up};
use saga_proof::model::{Checked, Faults, Model, Saga, Violation};

fn model(mistake: Mistake) -> Model<Line> {
    Model::new("question", Line::default())
        .participant(Asker { mistake })
        .participant(Answerer { mistake })
        .effect(|line: &Line, call: &question::Call| line.may_answer(call))
        .command::<Asker>("the asker gives up", |saga| Some(give_up(saga.key())))
        .saga::<Asker>("q".to_owned(), ask("q"))
        .always("a question is answered once", |saga| {
            saga.told("question.answered") <= 1
        })
}

fn check(mistake: Mistake) -> Result<Checked, Violation> {
    model(mistake).check()
}

fn story(violation: &Violation) -> String {
    violation.to_string()
}

#[test]
fn a_sound_choreography_has_the_same_states_each_time() {
    let answered = |saga: Saga<'_, Line>| saga.told("question.answered") == 1;
    model(Mistake::None)
        .comes_to("answered", answered)
        .check()
        .expect("it is sound");
    let first = check(Mistake::None).expect("it is sound");
    let second = check(Mistake::None).expect("it is sound");
    assert_eq!((first.states, &first.observed), (second.states, &second.observed));
    assert!(first.states > 100, "{first}");
}

#[test]
fn without_faults_there_is_less_to_see() {
    let checked = model(Mistake::None)
        .faults(Faults::NONE)
        .check()
        .expect("it is sound");
    assert!(checked.states < check(Mistake::None).expect("it is sound").states);
}

/// What is published again reaches `decide`, since its position is new.
#[test]
fn a_missing_barrier_is_told_as_a_story() {
    let violation = check(Mistake::NoBarrier).expect_err("it answers again");
    let story = story(&violation);
    assert!(
        matches!(
            violation,
            Violation::NotAlways {
                claim: "a question is answered once",
                ..
            }
        ),
        "{story}"
    );
    for line in [
        "question.asked is published to question-events again",
        "answerer hears question.asked",
        "answerer's call is done outside",
        "outside: Line",
        "to walk through it",
    ] {
        assert!(story.contains(line), "'{line}' is not in:\n{story}");
    }
}

#[test]
fn what_a_participant_calls_impossible_is_found() {
    let violation = check(Mistake::LateIsImpossible).expect_err("the deadline fires late");
    let story = story(&violation);
    assert!(
        story.contains("not always: nothing impossible happens"),
        "{story}"
    );
    assert!(
        story.contains("FAULT: asker on deadline: it is too late for that"),
        "{story}"
    );
}

#[test]
fn a_saga_that_rests_and_has_not_ended_is_found() {
    let violation = check(Mistake::NoDeadline).expect_err("nobody ends it");
    let story = story(&violation);
    assert!(
        story.contains("not always: at rest, every saga has ended or is parked"),
        "{story}"
    );
}

/// It is never at rest, so no claim about rest is broken.
#[test]
fn a_loop_without_a_way_out_is_found() {
    let violation = check(Mistake::DeadlineForEver).expect_err("it waits for ever");
    assert!(
        matches!(violation, Violation::Astray { .. }),
        "{}",
        story(&violation)
    );
    assert!(
        story(&violation).contains("answerer's call is exhausted"),
        "{}",
        story(&violation)
    );
}

#[test]
fn a_state_that_counts_without_a_bound_is_found() {
    let violation = model(Mistake::Counts)
        .at_most(2_000)
        .check()
        .expect_err("it counts");
    assert!(
        matches!(violation, Violation::TooManyStates { .. }),
        "{}",
        story(&violation)
    );
}

#[test]
fn what_never_comes_about_is_found() {
    let violation = model(Mistake::None)
        .sometimes("it is answered twice", |saga| saga.told("question.answered") == 2)
        .check()
        .expect_err("it never is");
    assert!(
        story(&violation).contains("never: it is answered twice"),
        "{}",
        story(&violation)
    );
}

#[test]
fn a_second_effect_beside_an_outstanding_one_is_found() {
    let violation = check(Mistake::CallsTwice).expect_err("the engine has no room for it");
    assert!(
        story(&violation).contains("while another effect is outstanding"),
        "{}",
        story(&violation)
    );
}

#[test]
fn an_event_of_another_saga_is_found() {
    let violation = check(Mistake::WrongKey).expect_err("the key is another");
    assert!(
        story(&violation).contains("and not of its saga q"),
        "{}",
        story(&violation)
    );
}

#[test]
fn a_beginning_that_is_refused_is_none() {
    let again = model(Mistake::None).before::<Asker>(give_up("q".to_owned()));
    let violation = again.check().expect_err("nobody asked yet");
    assert!(
        matches!(violation, Violation::NoBeginning { .. }),
        "{}",
        story(&violation)
    );
}
