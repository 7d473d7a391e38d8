use super::*;

/// One of each state that a page can be in after it was begun, and its standings.
fn begun() -> Vec<Payment> {
    let mut states = vec![
        Payment::PageOpen(open_bill()),
        Payment::Captured(open_bill()),
        Payment::Refunding(open_bill()),
        Payment::RefundParked(open_bill()),
        Payment::Refunded(open_bill()),
        Payment::Failed {
            bill: page_bill(),
            code: "no".into(),
        },
        Payment::Expired(open_bill()),
        Payment::Voided(Some(open_bill())),
    ];
    for standing in [
        Standing::Waits,
        Standing::Cancelled,
        Standing::Paid,
        Standing::RefundDue,
    ] {
        for asked in [Asked::Page, Asked::WhatOfPage, Asked::Close(Unpaid::Expired)] {
            states.push(asking(page_bill(), asked, standing));
        }
    }
    states
}

fn not_begun() -> Vec<Payment> {
    vec![
        Payment::Absent,
        Payment::StockFirst,
        Payment::AwaitingStock(due(PaymentMethod::HostedPage)),
        Payment::Rejected(None),
        Payment::Rejected(Some(page_bill())),
        Payment::Voided(None),
    ]
}

#[test]
fn the_cancel_of_what_was_not_begun_is_a_barrier_and_settles_the_order() {
    for (state, bill) in [
        (Payment::Absent, None),
        (Payment::StockFirst, None),
        (Payment::AwaitingStock(due(card())), Some(card_bill())),
    ] {
        let voided = Payment::Voided(bill);
        payments()
            .state(state)
            .when(order_cancelled())
            .emits(&[out::voided()])
            .leaves(&voided);
        for late in [order_created(card()), stock_reserved(), order_cancelled()] {
            payments()
                .state(voided.clone())
                .when(late)
                .emits(&[])
                .leaves(&voided);
        }
    }
}

#[test]
fn a_rejected_order_is_a_barrier_too() {
    for (state, bill) in [
        (Payment::Absent, None),
        (Payment::AwaitingStock(due(card())), Some(card_bill())),
    ] {
        let rejected = Payment::Rejected(bill);
        payments()
            .state(state)
            .when(order_rejected())
            .emits(&[])
            .leaves(&rejected);
        for late in [order_created(card()), order_rejected()] {
            payments()
                .state(rejected.clone())
                .when(late)
                .emits(&[])
                .leaves(&rejected);
        }
        for impossible in [stock_reserved(), order_cancelled()] {
            let then = payments().state(rejected.clone()).when(impossible);
            assert!(then.parks().contains("rejected"));
        }
    }
    for state in begun()
        .into_iter()
        .chain([Payment::StockFirst, Payment::Voided(None)])
    {
        let then = payments().state(state).when(order_rejected());
        assert!(then.parks().contains("rejected"));
    }
}

#[test]
fn what_comes_again_begins_nothing() {
    for state in begun() {
        for input in [order_created(PaymentMethod::HostedPage), stock_reserved()] {
            payments()
                .state(state.clone())
                .when(input)
                .emits(&[])
                .leaves(&state);
        }
    }
    let waiting = Payment::AwaitingStock(due(card()));
    payments()
        .state(waiting.clone())
        .when(order_created(card()))
        .emits(&[])
        .leaves(&waiting);
    payments()
        .state(Payment::StockFirst)
        .when(stock_reserved())
        .emits(&[])
        .leaves(&Payment::StockFirst);
}

#[test]
fn a_cancel_that_comes_again_or_answers_us_changes_nothing() {
    for state in [
        Payment::Refunding(open_bill()),
        Payment::RefundParked(open_bill()),
        Payment::Refunded(open_bill()),
        Payment::Failed {
            bill: page_bill(),
            code: "no".into(),
        },
        Payment::Expired(open_bill()),
        Payment::Voided(Some(open_bill())),
        asking(page_bill(), Asked::Page, Standing::RefundDue),
    ] {
        payments()
            .state(state.clone())
            .when(order_cancelled())
            .emits(&[])
            .leaves(&state);
    }
}

#[test]
fn a_webhook_that_comes_again_changes_nothing() {
    for state in [
        Payment::Captured(open_bill()),
        Payment::Refunding(open_bill()),
        Payment::RefundParked(open_bill()),
        Payment::Refunded(open_bill()),
        asking(page_bill(), Asked::Page, Standing::Paid),
        asking(page_bill(), Asked::Page, Standing::RefundDue),
    ] {
        let then = payments().state(state.clone()).when(reported_paid()).emits(&[]);
        assert_eq!(then.decision().reply, Some(Ok(())));
        then.leaves(&state);
    }
    for state in begun() {
        if state != Payment::PageOpen(open_bill()) {
            for event in [PageEvent::Declined, PageEvent::Expired] {
                let then = payments().state(state.clone()).when(report(event)).emits(&[]);
                assert_eq!(then.decision().reply, Some(Ok(())));
                then.leaves(&state);
            }
        }
    }
}

#[test]
fn a_deadline_that_fires_too_late_changes_nothing() {
    for state in begun().into_iter().chain(not_begun()) {
        if state != Payment::PageOpen(open_bill()) {
            payments()
                .state(state.clone())
                .when(In::PageDeadline)
                .emits(&[])
                .leaves(&state);
        }
    }
}

#[test]
fn an_answer_that_nobody_awaits_parks_the_key() {
    let awaits = |state: &Payment, input: &In| match (state, input) {
        (Payment::Asking { asked, .. }, In::PageOpened(_)) => *asked == Asked::Page,
        (Payment::Asking { asked, .. }, In::PageFound(_)) => *asked == Asked::WhatOfPage,
        (Payment::Asking { asked, .. }, In::Closed(_)) => matches!(asked, Asked::Close(_)),
        (Payment::Refunding(_) | Payment::RefundParked(_), In::Refunded(_)) => true,
        _ => false,
    };
    for state in begun().into_iter().chain(not_begun()) {
        for input in answers::all() {
            let then = payments().state(state.clone()).when(input.clone());
            if awaits(&state, &input) {
                let _decided = then.decision();
            } else {
                assert!(then.parks().contains("not asked"), "{state:?} took {input:?}");
            }
        }
    }
}
