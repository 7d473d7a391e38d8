use chrono::{DateTime, Utc};
use saga_core::replay::{Outcome, Recorded, Replay, Sagas, Told, replay};
use saga_core::{Event as _, testkit};
use serde_json::{Value, json};
use uuid::Uuid;

use super::desk::{Desk, In, Loan, Requested, Return};

impl Replay for Desk {
    const BEGINS: &'static str = Requested::NAME;

    fn unrecorded(&self, loan: &String, state: &Loan, _: &[Told]) -> Vec<In> {
        match state {
            Loan::Out { .. } => vec![In::BringBack(Return { loan: loan.clone() })],
            Loan::Unknown | Loan::Over => Vec::new(),
        }
    }

    fn row(&self, _: &String, _: &[Told]) -> Option<u32> {
        Some(3)
    }
}

fn told(id: u128, cause: u128, name: &str, version: u32, data: Value) -> Told {
    Told {
        id: Uuid::from_u128(id),
        cause: Some(Uuid::from_u128(cause)),
        name: name.to_owned(),
        version,
        data,
        at: Some(testkit::noon()),
        place: format!("t/0@{id}"),
    }
}

fn requested(id: u128) -> Told {
    told(
        id,
        900,
        "loan.requested",
        1,
        json!({"loan": "l-1", "title": "Emma"}),
    )
}

fn lent(cause: u128, copies: u32) -> Told {
    told(
        50,
        cause,
        "book.lent",
        2,
        json!({"loan": "l-1", "copies": copies}),
    )
}

fn outcome(heard: Vec<Told>, told: Vec<Told>, settled: Option<DateTime<Utc>>) -> Outcome {
    let recorded = Recorded {
        heard: vec![heard],
        told,
    };
    replay(&Desk, &"l-1".to_owned(), &recorded, settled)
}

fn difference(outcome: Outcome) -> saga_core::replay::Difference {
    match outcome {
        Outcome::Differs(difference) => *difference,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_told_of_what_was_heard_is_told_again() {
    let same = Outcome::Same {
        recorded: 1,
        inferred: 0,
    };
    assert_eq!(outcome(vec![requested(1)], vec![lent(1, 1)], None), same);
    // A request that comes again leads to nothing, then and now.
    assert_eq!(
        outcome(vec![requested(1), requested(2)], vec![lent(1, 1)], None),
        same
    );
}

#[test]
fn an_older_version_was_told_otherwise_and_means_the_same() {
    let old = told(50, 1, "book.lent", 1, json!({"loan": "l-1"}));
    assert!(matches!(
        outcome(vec![requested(1)], vec![old], None),
        Outcome::Same { .. }
    ));
}

#[test]
fn the_first_difference_is_a_story() {
    let other = difference(outcome(vec![requested(1)], vec![lent(1, 2)], None));
    assert_eq!(other.state, "Unknown");
    assert_eq!(other.came, "loan.requested (t/0@1)");
    assert_eq!(other.then, r#"book.lent {"copies":2,"loan":"l-1"}"#);
    assert!(
        other.now.starts_with(r#"book.lent {"copies":1,"loan":"l-1"}"#),
        "{}",
        other.now
    );
    let story = other.to_string();
    assert!(
        story.contains("decided then:") && story.contains("decided now:"),
        "{story}"
    );

    let silent = difference(outcome(vec![requested(1)], Vec::new(), None));
    assert_eq!(silent.then, "nothing");
    assert!(silent.now.starts_with("book.lent"), "{}", silent.now);

    let unheard = difference(outcome(Vec::new(), vec![lent(7, 1)], None));
    assert!(
        unheard.now.contains("nothing can come in this state"),
        "{}",
        unheard.now
    );

    let unreadable = told(1, 900, "loan.requested", 9, json!({}));
    let unreadable = difference(outcome(vec![unreadable], Vec::new(), None));
    assert!(
        unreadable.now.starts_with("it cannot be read"),
        "{}",
        unreadable.now
    );
}

#[test]
fn what_came_at_the_end_of_the_record_need_not_be_decided() {
    let noon = testkit::noon();
    let undecided = |settled| outcome(vec![requested(1)], Vec::new(), Some(settled));
    assert!(matches!(undecided(noon), Outcome::Same { .. }));
    assert!(matches!(
        undecided(noon + chrono::TimeDelta::seconds(1)),
        Outcome::Differs(_)
    ));
}

#[test]
fn a_record_is_read_by_its_lines() {
    let line = |topic: &str, key: &str, event: &Told| {
        json!({
            "topic": format!("prefix-{topic}"), "partition": 0, "offset": 1, "key": key,
            "headers": {
                "ce_id": event.id, "ce_type": event.name, "ce_causationid": event.cause,
                "ce_dataschema": format!("{}/{}", event.name, event.version),
            },
            "payload": event.data,
        })
        .to_string()
    };
    let mut sagas = Sagas::of(&Desk);
    for line in [
        line("loan-events", "l-1", &requested(1)),
        line("loan-events", "l-1", &requested(1)),
        line("desk-events", "l-1", &lent(1, 1)),
        line("loan-events", "l-2", &requested(2)),
        line("desk-events", "l-2", &lent(2, 5)),
        line("desk-events", "l-3", &lent(3, 1)),
        line("other-events", "l-4", &requested(4)),
        json!({"topic": "loan-events", "key": "l-5", "headers": {}}).to_string(),
    ] {
        sagas.take(&line).unwrap();
    }
    assert!(sagas.take("no JSON").is_err());
    let report = sagas.replay(None);
    assert_eq!((report.same, report.differ, report.cut), (1, 1, 1), "{report:?}");
    assert_eq!(report.stories[0].0, "l-2");
}

/// The request stood in partition 4 before its topic grew, and came again to partition 0 afterwards: read the other way
/// round, the desk would lend on the second one.
#[test]
fn a_saga_whose_topic_grew_is_replayed_as_if_it_had_not() {
    let line = |topic: &str, partition: u32, window: u64, event: &Told| {
        let sequence = saga_core::Position::new(1, window, window).to_string();
        json!({
            "topic": topic, "partition": partition, "offset": window, "key": "l-1",
            "headers": {
                "ce_id": event.id, "ce_type": event.name, "ce_causationid": event.cause,
                "ce_dataschema": format!("{}/{}", event.name, event.version),
                "ce_source": format!("/{topic}"), "ce_sequence": sequence,
            },
            "payload": event.data,
        })
        .to_string()
    };
    let mut sagas = Sagas::of(&Desk);
    // A file has the records of its keys from the first partition to the last.
    for line in [
        line("desk-events", 4, 1, &lent(1, 1)),
        line("loan-events", 0, 7, &requested(2)),
        line("loan-events", 4, 1, &requested(1)),
    ] {
        sagas.take(&line).unwrap();
    }
    let report = sagas.replay(None);
    assert_eq!((report.same, report.differ), (1, 0), "{report:?}");
}
