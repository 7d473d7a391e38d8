use super::*;

#[test]
fn payment_confirms() {
    orders()
        .state(pending())
        .when(paid::succeeded())
        .emits(&[
            Out::Confirmed(order::Confirmed { order_id: id() }),
            Out::Deadline(Timer::Cancel),
        ])
        .leaves(&Order::Confirmed { placed: placed() });
}

#[test]
fn a_shortage_rejects() {
    orders()
        .state(pending())
        .when(stock_rejected())
        .emits(&[
            Out::Rejected(order::Rejected { order_id: id() }),
            Out::Deadline(Timer::Cancel),
        ])
        .leaves(&Order::Rejected { placed: placed() });
}

#[test]
fn four_things_cancel_a_pending_order() {
    for (input, reason, money, timer) in [
        (paid::failed(), CancelReason::PaymentFailed, Held::Nothing, true),
        (paid::expired(), CancelReason::PaymentExpired, Held::Nothing, true),
        (cancel_command(), CancelReason::Customer, Held::Unknown, true),
        (In::Deadline, CancelReason::Deadline, Held::Unknown, false),
    ] {
        let mut outputs = vec![Out::Cancelled(order::Cancelled {
            order_id: id(),
            reason,
        })];
        if timer {
            outputs.push(Out::Deadline(Timer::Cancel));
        }
        orders()
            .state(pending())
            .when(input)
            .emits(&outputs)
            .leaves(&cancelled(reason, money));
    }
}

#[test]
fn the_customer_is_told_what_became_of_the_cancel() {
    let then = orders().state(pending()).when(cancel_command());
    let order = cancelled(CancelReason::Customer, Held::Unknown);
    assert_eq!(then.decision().reply, Some(Ok(Reply { order, at: noon() })));
    for (state, refusal) in [
        (Order::Absent, Refusal::NotFound(id())),
        (
            Order::Confirmed { placed: placed() },
            Refusal::NotPending(Status::Confirmed),
        ),
        (
            Order::Rejected { placed: placed() },
            Refusal::NotPending(Status::Rejected),
        ),
        (
            cancelled(CancelReason::Deadline, Held::Unknown),
            Refusal::NotPending(Status::Cancelled),
        ),
        (refunded(), Refusal::NotPending(Status::Refunded)),
    ] {
        let then = orders().state(state.clone()).when(cancel_command()).emits(&[]);
        assert_eq!(then.decision().reply, Some(Err(refusal)));
        then.leaves(&state);
    }
}

#[test]
fn the_page_of_a_pending_order_is_shown() {
    let shown = Order::Pending {
        placed: Placed {
            page_url: Some("https://pay/1".into()),
            ..placed()
        },
    };
    orders()
        .state(pending())
        .when(paid::created(Some("https://pay/1")))
        .emits(&[])
        .leaves(&shown);
    // An event that came before and comes again without a page takes none away.
    orders()
        .state(shown.clone())
        .when(paid::created(None))
        .emits(&[])
        .leaves(&shown);
}

#[test]
fn a_cancelled_order_is_settled_once_no_money_is_held() {
    let reason = CancelReason::Customer;
    for input in [paid::voided(), paid::failed(), paid::expired()] {
        let then = orders()
            .state(cancelled(reason, Held::Unknown))
            .when(input.clone())
            .emits(&[]);
        let order = &then.decision().state;
        assert!(order.is_settled() && order.is_at_rest());
        // Money that is owed stays owed, whatever comes again.
        let owed = cancelled(reason, Held::Owed);
        orders().state(owed.clone()).when(input).emits(&[]).leaves(&owed);
    }
}

#[test]
fn money_that_is_owed_is_shown_and_needs_attention() {
    for before in [Held::Unknown, Held::Nothing, Held::Owed] {
        let then = orders()
            .state(cancelled(CancelReason::Customer, before))
            .when(paid::refund_failed())
            .emits(&[]);
        let order = &then.decision().state;
        assert!(order.is_money_owed() && order.is_at_rest() && !order.is_settled());
        assert!(!Orders::default().is_ended(order));
        then.leaves(&cancelled(CancelReason::Customer, Held::Owed));
    }
}

#[test]
fn a_refund_ends_a_cancelled_order_however_late() {
    for before in [Held::Unknown, Held::Nothing, Held::Owed] {
        orders()
            .state(cancelled(CancelReason::Customer, before))
            .when(paid::refunded())
            .emits(&[Out::Refunded(order::Refunded {
                order_id: id(),
                amount: euro(1400),
            })])
            .leaves(&refunded());
    }
}

#[test]
fn what_crossed_or_was_seen_before_changes_nothing() {
    let confirmed = || Order::Confirmed { placed: placed() };
    let rejected = || Order::Rejected { placed: placed() };
    let open = || cancelled(CancelReason::Customer, Held::Unknown);
    let mut cases = vec![
        (open(), paid::created(Some("https://pay/1"))),
        (open(), paid::succeeded()),
        (open(), stock_rejected()),
        (open(), In::Deadline),
        (confirmed(), paid::created(None)),
        (confirmed(), paid::succeeded()),
        (confirmed(), In::Deadline),
        (rejected(), stock_rejected()),
        (rejected(), In::Deadline),
        (refunded(), In::Deadline),
    ];
    cases.extend(paid::all().map(|input| (refunded(), input)));
    for (state, input) in cases {
        orders()
            .state(state.clone())
            .when(input)
            .emits(&[])
            .leaves(&state);
    }
}

#[test]
fn what_cannot_be_parks_the_key() {
    let confirmed = || Order::Confirmed { placed: placed() };
    let rejected = || Order::Rejected { placed: placed() };
    let mut cases = vec![
        (Order::Absent, In::Deadline),
        (Order::Absent, stock_rejected()),
        (pending(), paid::voided()),
        (pending(), paid::refunded()),
        (pending(), paid::refund_failed()),
        (confirmed(), paid::failed()),
        (confirmed(), paid::expired()),
        (confirmed(), paid::voided()),
        (confirmed(), paid::refunded()),
        (confirmed(), paid::refund_failed()),
        (confirmed(), stock_rejected()),
        (refunded(), stock_rejected()),
    ];
    cases.extend(paid::all().map(|input| (Order::Absent, input)));
    cases.extend(paid::all().map(|input| (rejected(), input)));
    for (state, input) in cases {
        let then = orders().state(state).when(input);
        assert!(!then.parks().is_empty());
    }
}
