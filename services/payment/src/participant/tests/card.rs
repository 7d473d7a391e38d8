use super::*;

fn charging(standing: Standing) -> Payment {
    asking(card_bill(), Asked::Charge, standing)
}

fn unknown(standing: Standing) -> Payment {
    asking(card_bill(), Asked::WhatOfCharge, standing)
}

fn closing(standing: Standing) -> Payment {
    asking(card_bill(), Asked::Close(Unpaid::Unreachable), standing)
}

fn captured() -> Outcome<Charge> {
    Outcome::Answered(Charged::Captured { amount: price() })
}

fn declined() -> Outcome<Charge> {
    Outcome::Answered(Charged::Declined {
        code: "declined".into(),
    })
}

#[test]
fn a_charge_begins_when_order_and_stock_are_known_in_either_order() {
    let begun = [out::created(None), out::charge()];
    payments()
        .when(order_created(card()))
        .emits(&[])
        .and([])
        .when(stock_reserved())
        .emits(&begun)
        .leaves(&charging(Standing::Waits));
    payments()
        .when(stock_reserved())
        .emits(&[])
        .and([])
        .when(order_created(card()))
        .emits(&begun)
        .leaves(&charging(Standing::Waits));
}

#[test]
fn a_definite_answer_is_told() {
    payments()
        .state(charging(Standing::Waits))
        .when(In::Charged(captured()))
        .emits(&[out::succeeded()])
        .leaves(&Payment::Captured(card_bill()));
    payments()
        .state(charging(Standing::Waits))
        .when(In::Charged(declined()))
        .emits(&[out::failed("declined")])
        .leaves(&Payment::Failed {
            bill: card_bill(),
            code: "declined".into(),
        });
}

#[test]
fn an_exhausted_charge_is_asked_after_and_never_taken_for_failed() {
    payments()
        .state(charging(Standing::Waits))
        .when(In::Charged(unanswered()))
        .emits(&[out::query_charge()])
        .leaves(&unknown(Standing::Waits));
    for (found, outputs, state) in [
        (
            ChargeFound::Captured { amount: price() },
            vec![out::succeeded()],
            Payment::Captured(card_bill()),
        ),
        (
            ChargeFound::Declined {
                code: "stolen".into(),
            },
            vec![out::failed("stolen")],
            Payment::Failed {
                bill: card_bill(),
                code: "stolen".into(),
            },
        ),
        // It may still be under way: the door is shut before anybody says "no".
        (
            ChargeFound::NotFound,
            vec![out::close()],
            closing(Standing::Waits),
        ),
    ] {
        payments()
            .state(unknown(Standing::Waits))
            .when(In::ChargeFound(Outcome::Answered(found)))
            .emits(&outputs)
            .leaves(&state);
    }
}

#[test]
fn what_the_provider_never_heard_of_fails_once_it_is_closed_there() {
    payments()
        .state(closing(Standing::Waits))
        .when(In::Closed(Outcome::Answered(Closed::Closed)))
        .emits(&[out::failed(UNREACHABLE)])
        .leaves(&Payment::Failed {
            bill: card_bill(),
            code: UNREACHABLE.into(),
        });
    // The charge was still under way when it was asked after.
    payments()
        .state(closing(Standing::Waits))
        .when(In::Closed(Outcome::Answered(Closed::AlreadyPaid {
            amount: price(),
        })))
        .emits(&[out::succeeded()])
        .leaves(&Payment::Captured(card_bill()));
}

#[test]
fn a_cancel_waits_for_the_answer() {
    for before in [charging, unknown, closing] {
        payments()
            .state(before(Standing::Waits))
            .when(order_cancelled())
            .emits(&[])
            .leaves(&before(Standing::Cancelled));
        payments()
            .state(before(Standing::Cancelled))
            .when(order_cancelled())
            .emits(&[])
            .leaves(&before(Standing::Cancelled));
    }
}

#[test]
fn a_cancelled_charge_is_refunded_or_voided() {
    let amount = price();
    let refunding = Payment::Refunding(card_bill());
    let voided = Payment::Voided(Some(card_bill()));
    for (state, input, output, after) in [
        (
            charging(Standing::Cancelled),
            In::Charged(captured()),
            out::refund(),
            &refunding,
        ),
        (
            charging(Standing::Cancelled),
            In::Charged(declined()),
            out::voided(),
            &voided,
        ),
        (
            charging(Standing::Cancelled),
            In::Charged(unanswered()),
            out::close(),
            &closing(Standing::Cancelled),
        ),
        (
            unknown(Standing::Cancelled),
            In::ChargeFound(Outcome::Answered(ChargeFound::Captured { amount })),
            out::refund(),
            &refunding,
        ),
        (
            unknown(Standing::Cancelled),
            In::ChargeFound(Outcome::Answered(ChargeFound::Declined { code: "no".into() })),
            out::voided(),
            &voided,
        ),
        (
            unknown(Standing::Cancelled),
            In::ChargeFound(Outcome::Answered(ChargeFound::NotFound)),
            out::close(),
            &closing(Standing::Cancelled),
        ),
        (
            closing(Standing::Cancelled),
            In::Closed(Outcome::Answered(Closed::Closed)),
            out::voided(),
            &voided,
        ),
        (
            closing(Standing::Cancelled),
            In::Closed(Outcome::Answered(Closed::AlreadyPaid { amount })),
            out::refund(),
            &refunding,
        ),
    ] {
        payments().state(state).when(input).emits(&[output]).leaves(after);
    }
}

#[test]
fn a_question_without_an_answer_stays_open() {
    for standing in [Standing::Waits, Standing::Cancelled] {
        for (state, input) in [
            (unknown(standing), In::ChargeFound(unanswered())),
            (closing(standing), In::Closed(unanswered())),
        ] {
            payments()
                .state(state.clone())
                .when(input)
                .emits(&[])
                .leaves(&state);
            assert!(!PAYMENTS.is_ended(&state));
        }
    }
}

#[test]
fn another_amount_than_the_bill_parks_the_key() {
    let amount = Money::new(1, Currency::EUR);
    for (state, input) in [
        (
            charging(Standing::Waits),
            In::Charged(Outcome::Answered(Charged::Captured { amount })),
        ),
        (
            unknown(Standing::Cancelled),
            In::ChargeFound(Outcome::Answered(ChargeFound::Captured { amount })),
        ),
        (
            closing(Standing::Waits),
            In::Closed(Outcome::Answered(Closed::AlreadyPaid { amount })),
        ),
    ] {
        let then = payments().state(state).when(input);
        assert!(
            then.parks().contains("took 0.01 EUR instead of 14.00 EUR"),
            "{}",
            then.parks()
        );
    }
}
