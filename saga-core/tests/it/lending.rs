use saga_core::testkit::given;
use saga_core::{
    DecodeError, Emission, Event, InputKind, Inputs, Outcome, Outputs, Participant, RawOutcome, Timer,
};

use crate::desk::{Desk, In, Lent, Loan, Out, Remind, Reminded, Requested, Return};

fn requested() -> In {
    In::Requested(Requested {
        loan: "l-1".into(),
        title: "Emma".into(),
    })
}

#[test]
fn a_decision_is_told_with_given_when_then() {
    let lent = given(&Desk).shared([("Emma".to_owned(), 2)]).when(requested());
    assert_eq!(lent.decision().outputs.len(), 2);
    lent.shared_is(&"Emma".to_owned(), &1)
        .and(["Emma".to_owned()])
        .when(In::BringBack(Return { loan: "l-1".into() }))
        .emits(&[Out::LoanIsOver(Timer::Cancel)])
        .leaves(&Loan::Over)
        .shared_is(&"Emma".to_owned(), &2);
}

#[test]
fn a_fault_leaves_no_half_written_shelf() {
    let then = given(&Desk).shared([("Emma".to_owned(), 0)]).when(requested());
    assert_eq!(then.parks(), "no copy is left");
    then.shared_is(&"Emma".to_owned(), &0);
}

#[test]
fn inputs_are_read_by_their_wire_names() {
    let event = In::from_event(
        "loan.requested",
        1,
        br#"{"loan":"l-1","title":"Emma","unknown":1}"#,
    );
    assert_eq!(event.expect("reads"), Some(requested()));
    assert_eq!(
        In::from_event("loan.forgotten", 1, b"{}").expect("unknown types are ignored"),
        None
    );
    assert!(matches!(
        In::from_event("loan.requested", 2, b"{}"),
        Err(DecodeError::UnknownVersion {
            name: "loan.requested",
            found: 2,
            known: 1
        })
    ));
    assert!(matches!(
        In::from_event("loan.requested", 1, b"garbage"),
        Err(DecodeError::Payload { .. })
    ));
    assert_eq!(In::from_timer("loan_is_over"), Some(In::LoanIsOver));
    let raw = RawOutcome::Answered(serde_json::json!("NoSuchAddress"));
    assert_eq!(
        In::from_result("remind", &raw).expect("reads"),
        Some(In::Reminded(Outcome::Answered(Reminded::NoSuchAddress)))
    );
}

#[test]
fn outputs_are_written_under_their_wire_names() {
    let lent = Out::Lent(Lent {
        loan: "l-1".into(),
        copies: 3,
    });
    let Emission::Event {
        topic,
        name,
        schema,
        key,
        data,
    } = lent.emission().expect("encodes")
    else {
        panic!("an event was expected");
    };
    assert_eq!(
        (topic, name, schema, key.as_str()),
        ("desk-events", "book.lent", "book.lent/2", "l-1")
    );
    assert_eq!(Lent::decode(2, &data).expect("reads what it wrote").copies, 3);
    assert_eq!(
        Lent::decode(1, br#"{"loan":"l-1"}"#)
            .expect("an older one")
            .copies,
        1
    );

    let effect = Out::Remind(Remind { loan: "l-1".into() })
        .emission()
        .expect("encodes");
    assert!(matches!(effect, Emission::Effect { kind: "remind", .. }));
    let timer = Out::LoanIsOver(Timer::Cancel).emission().expect("encodes");
    assert_eq!(
        timer,
        Emission::Timer {
            name: "loan_is_over",
            timer: Timer::Cancel
        }
    );
}

#[test]
fn the_tables_name_every_variant() {
    let kinds: Vec<_> = In::SPEC.iter().map(|spec| (spec.variant, spec.name)).collect();
    assert_eq!(
        kinds,
        [
            ("Requested", "loan.requested"),
            ("BringBack", "bring_back"),
            ("LoanIsOver", "loan_is_over"),
            ("Reminded", "remind")
        ]
    );
    assert!(matches!(
        In::SPEC[0].kind,
        InputKind::Event {
            topic: "loan-events",
            version: 1,
            key: "loan",
        }
    ));
    assert_eq!(saga_core::input::topics::<In>(), ["loan-events"]);
    assert_eq!(requested().spec().variant, "Requested");
    for step in Desk::STEPS {
        assert!(In::SPEC.iter().any(|spec| spec.variant == step.on));
        for out in step.emits.iter().chain(step.undoes) {
            assert!(Out::SPEC.iter().any(|spec| spec.variant == *out));
        }
    }
}
