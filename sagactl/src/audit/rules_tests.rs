use super::*;

fn events(names: &[&str]) -> Events {
    let mut all = Events::default();
    for name in names {
        let event = Events::of(name);
        assert!(!event.is_empty(), "{name}");
        all.add(event);
    }
    all
}

const SOLD: &[&str] = &[
    "order.created",
    "stock.reserved",
    "payment.created",
    "payment.succeeded",
    "order.confirmed",
    "stock.committed",
];

fn life(order: Order, hold: Hold, payment: Payment, seen: &[&str]) -> Life {
    let mut notes = Notes::WHOLE;
    notes.add(Notes::CARD);
    notes.add(Notes::LOOKED_UP);
    Life {
        seen: events(seen),
        order,
        hold,
        payment,
        notes,
        ..Life::default()
    }
}

fn sold() -> Life {
    life(Order::Confirmed, Hold::Sold, Payment::Captured, SOLD)
}

/// Class and name of each finding.
fn found(life: &Life) -> Vec<(Class, &'static str)> {
    match judge("o-1", life, false) {
        Verdict::Wrong(found) => found.iter().map(|one| (one.class, one.name)).collect(),
        Verdict::Right => Vec::new(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_good_end_is_right() {
    let ends = [
        sold(),
        life(
            Order::Rejected,
            Hold::Rejected,
            Payment::Rejected,
            &["order.created", "stock.rejected", "order.rejected"],
        ),
        life(
            Order::CancelledNothing,
            Hold::Cancelled,
            Payment::Failed,
            &[
                "order.created",
                "stock.reserved",
                "payment.created",
                "payment.failed",
                "order.cancelled",
                "stock.released",
            ],
        ),
        // The cancel came before anything else.
        life(
            Order::CancelledNothing,
            Hold::Cancelled,
            Payment::Voided,
            &["order.created", "order.cancelled", "payment.voided"],
        ),
        life(
            Order::Refunded,
            Hold::Cancelled,
            Payment::Refunded,
            &[
                "order.created",
                "stock.reserved",
                "payment.created",
                "payment.succeeded",
                "order.cancelled",
                "stock.released",
                "payment.refunded",
                "order.refunded",
            ],
        ),
        life(
            Order::CancelledOwed,
            Hold::Cancelled,
            Payment::RefundParked,
            &[
                "order.created",
                "stock.reserved",
                "payment.created",
                "order.cancelled",
                "stock.released",
                "payment.refund_failed",
            ],
        ),
    ];
    for end in ends {
        assert_eq!(found(&end), [], "{end:?}");
    }
}

#[test]
fn each_event_that_a_state_needs_is_missed() {
    for gone in SOLD {
        let left: Vec<&str> = SOLD.iter().copied().filter(|name| name != gone).collect();
        let life = life(Order::Confirmed, Hold::Sold, Payment::Captured, &left);
        assert_eq!(found(&life), [(Class::Lost, "never_told")], "{gone}");
        let mut older = life.clone();
        older.notes = Notes::LOOKED_UP;
        assert_eq!(found(&older), [], "{gone} may be older than the topics");
    }
}

#[test]
fn what_is_acknowledged_has_to_be_there() {
    let mut one = sold();
    one.acknowledged = events(&["stock.released"]);
    assert_eq!(found(&one), [(Class::Lost, "not_in_topic")]);
    one.acknowledged = events(&["stock.committed"]);
    assert_eq!(found(&one), []);
}

#[test]
fn what_was_read_has_to_show() {
    let cases = [
        Life {
            order: Order::Absent,
            ..sold()
        },
        Life {
            hold: Hold::Absent,
            ..sold()
        },
        Life {
            hold: Hold::Held,
            ..sold()
        },
        Life {
            payment: Payment::Absent,
            ..sold()
        },
        life(
            Order::Pending,
            Hold::Held,
            Payment::Captured,
            &SOLD[..4], // and order has read payment.succeeded
        ),
    ];
    for case in cases {
        let found = found(&case);
        assert!(
            !found.is_empty() && found.iter().all(|one| *one == (Class::Unapplied, "unapplied")),
            "{case:?}: {found:?}"
        );
    }
    let mut pruned = sold();
    pruned.hold = Hold::Absent;
    pruned.notes.add(Notes::LONG_ENDED);
    assert_eq!(found(&pruned), []);
}

#[test]
fn money_has_to_be_right() {
    let mut other = sold();
    other.notes.add(Notes::OTHER_AMOUNT);
    assert_eq!(found(&other), [(Class::Unbalanced, "money")]);
    // Too old for its events to be there, so that only the tables speak.
    let mut kept = life(Order::CancelledNothing, Hold::Cancelled, Payment::Captured, &[]);
    kept.notes = Notes::LOOKED_UP;
    assert_eq!(found(&kept), [(Class::Unbalanced, "money")]);
    let mut asked = kept.clone();
    asked.payment = Payment::Refunding;
    asked.notes.add(Notes::WAITS);
    assert_eq!(found(&asked), []);
    let mut goods = kept.clone();
    (goods.hold, goods.payment) = (Hold::Held, Payment::Voided);
    assert_eq!(found(&goods), [(Class::Unbalanced, "goods")]);
}

#[test]
fn what_is_open_waits_for_something() {
    let mut pending = life(
        Order::Pending,
        Hold::Held,
        Payment::Asking,
        &["order.created", "stock.reserved", "payment.created"],
    );
    assert_eq!(found(&pending), [(Class::Overdue, "waits_for_nothing")]);
    pending.notes.add(Notes::DEADLINE);
    assert_eq!(found(&pending), []);
    let mut cancelled = life(
        Order::Cancelled,
        Hold::Cancelled,
        Payment::Asking,
        &[
            "order.created",
            "stock.reserved",
            "payment.created",
            "order.cancelled",
            "stock.released",
        ],
    );
    assert_eq!(found(&cancelled), [(Class::Overdue, "waits_for_nothing")]);
    cancelled.notes.add(Notes::WAITS);
    assert_eq!(found(&cancelled), []);
}

#[test]
fn what_moves_or_is_parked_is_not_judged() {
    let broken = || Life {
        hold: Hold::Absent,
        ..sold()
    };
    assert_eq!(judge("o-1", &broken(), true), Verdict::Moves);
    for (note, verdict) in [
        (Notes::UNPUBLISHED, Verdict::Moves),
        (Notes::PARKED, Verdict::Parked),
        (Notes::DISCARDED, Verdict::Discarded),
    ] {
        let mut life = broken();
        life.notes.add(note);
        assert_eq!(judge("o-1", &life, false), verdict);
    }
}
