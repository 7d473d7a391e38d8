use super::*;

fn opening(standing: Standing) -> Payment {
    asking(page_bill(), Asked::Page, standing)
}

fn finding(standing: Standing) -> Payment {
    asking(page_bill(), Asked::WhatOfPage, standing)
}

/// The page's time was over, or the order's.
fn closing(standing: Standing) -> Payment {
    asking(open_bill(), Asked::Close(Unpaid::Expired), standing)
}

fn opened() -> In {
    In::PageOpened(Outcome::Answered(PageOpened::Opened { url: URL.into() }))
}

fn refused() -> In {
    In::PageOpened(Outcome::Answered(PageOpened::Refused {
        code: "amount_too_small".into(),
    }))
}

fn found(found: PageFound) -> In {
    In::PageFound(Outcome::Answered(found))
}

fn closed(closed: Closed) -> In {
    In::Closed(Outcome::Answered(closed))
}

#[test]
fn a_page_is_announced_once_there_is_one() {
    payments()
        .when(order_created(PaymentMethod::HostedPage))
        .and([])
        .when(stock_reserved())
        .emits(&[out::open_page()])
        .and([])
        .when(opened())
        .emits(&[out::created(Some(URL)), Out::PageDeadline(Timer::In(DAY))])
        .leaves(&Payment::PageOpen(open_bill()));
}

#[test]
fn the_webhook_says_that_it_is_paid() {
    let then = payments()
        .state(Payment::PageOpen(open_bill()))
        .when(reported_paid())
        .emits(&[out::succeeded(), Out::PageDeadline(Timer::Cancel)]);
    assert_eq!(then.decision().reply, Some(Ok(())));
    then.leaves(&Payment::Captured(open_bill()));
}

#[test]
fn a_page_expires_once_the_provider_has_closed_it() {
    payments()
        .state(Payment::PageOpen(open_bill()))
        .when(In::PageDeadline)
        .emits(&[out::close()])
        .leaves(&closing(Standing::Waits));
    // That the provider says so is a hint, not more.
    payments()
        .state(Payment::PageOpen(open_bill()))
        .when(report(PageEvent::Expired))
        .emits(&[out::close(), Out::PageDeadline(Timer::Cancel)])
        .leaves(&closing(Standing::Waits));
    payments()
        .state(closing(Standing::Waits))
        .when(closed(Closed::Closed))
        .emits(&[out::expired()])
        .leaves(&Payment::Expired(open_bill()));
    // Paid in the last second, while the order still waits.
    payments()
        .state(closing(Standing::Waits))
        .when(closed(Closed::AlreadyPaid { amount: price() }))
        .emits(&[out::succeeded()])
        .leaves(&Payment::Captured(open_bill()));
}

#[test]
fn a_page_that_is_declined_fails_once_the_provider_has_closed_it() {
    let declined = asking(open_bill(), Asked::Close(Unpaid::Declined), Standing::Waits);
    payments()
        .state(Payment::PageOpen(open_bill()))
        .when(report(PageEvent::Declined))
        .emits(&[out::close(), Out::PageDeadline(Timer::Cancel)])
        .leaves(&declined);
    payments()
        .state(declined)
        .when(closed(Closed::Closed))
        .emits(&[out::failed(DECLINED)])
        .leaves(&Payment::Failed {
            bill: open_bill(),
            code: DECLINED.into(),
        });
}

#[test]
fn a_page_that_is_refused_fails() {
    let code = "amount_too_small";
    payments()
        .state(opening(Standing::Waits))
        .when(refused())
        .emits(&[out::failed(code)])
        .leaves(&Payment::Failed {
            bill: page_bill(),
            code: code.into(),
        });
}

#[test]
fn a_page_whose_answer_was_lost_is_asked_after() {
    payments()
        .state(opening(Standing::Waits))
        .when(In::PageOpened(unanswered()))
        .emits(&[out::query_page()])
        .leaves(&finding(Standing::Waits));
    let unreachable = asking(page_bill(), Asked::Close(Unpaid::Unreachable), Standing::Waits);
    for (answer, outputs, state) in [
        (
            PageFound::Open { url: URL.into() },
            vec![out::created(Some(URL)), Out::PageDeadline(Timer::In(DAY))],
            Payment::PageOpen(open_bill()),
        ),
        (
            PageFound::Paid { amount: price() },
            vec![out::succeeded()],
            Payment::Captured(page_bill()),
        ),
        (
            PageFound::Declined,
            vec![out::failed(DECLINED)],
            Payment::Failed {
                bill: page_bill(),
                code: DECLINED.into(),
            },
        ),
        (
            PageFound::Closed,
            vec![out::expired()],
            Payment::Expired(page_bill()),
        ),
        (PageFound::NotFound, vec![out::close()], unreachable.clone()),
    ] {
        payments()
            .state(finding(Standing::Waits))
            .when(found(answer))
            .emits(&outputs)
            .leaves(&state);
    }
    payments()
        .state(unreachable)
        .when(closed(Closed::Closed))
        .emits(&[out::failed(UNREACHABLE)])
        .leaves(&Payment::Failed {
            bill: page_bill(),
            code: UNREACHABLE.into(),
        });
}

#[test]
fn a_cancelled_page_is_closed_then_voided_or_refunded() {
    payments()
        .state(Payment::PageOpen(open_bill()))
        .when(order_cancelled())
        .emits(&[out::close(), Out::PageDeadline(Timer::Cancel)])
        .leaves(&closing(Standing::Cancelled));
    let unreachable = asking(
        page_bill(),
        Asked::Close(Unpaid::Unreachable),
        Standing::Cancelled,
    );
    let voided = |bill| Payment::Voided(Some(bill));
    for (state, input, output, after) in [
        (
            closing(Standing::Cancelled),
            closed(Closed::Closed),
            out::voided(),
            voided(open_bill()),
        ),
        (
            closing(Standing::Cancelled),
            closed(Closed::AlreadyPaid { amount: price() }),
            out::refund(),
            Payment::Refunding(open_bill()),
        ),
        (
            opening(Standing::Cancelled),
            opened(),
            out::close(),
            closing(Standing::Cancelled),
        ),
        (
            opening(Standing::Cancelled),
            refused(),
            out::voided(),
            voided(page_bill()),
        ),
        (
            opening(Standing::Cancelled),
            In::PageOpened(unanswered()),
            out::close(),
            unreachable.clone(),
        ),
        (
            finding(Standing::Cancelled),
            found(PageFound::Open { url: URL.into() }),
            out::close(),
            closing(Standing::Cancelled),
        ),
        (
            finding(Standing::Cancelled),
            found(PageFound::Paid { amount: price() }),
            out::refund(),
            Payment::Refunding(page_bill()),
        ),
        (
            finding(Standing::Cancelled),
            found(PageFound::Closed),
            out::voided(),
            voided(page_bill()),
        ),
        (
            finding(Standing::Cancelled),
            found(PageFound::NotFound),
            out::close(),
            unreachable,
        ),
    ] {
        payments()
            .state(state)
            .when(input)
            .emits(&[output])
            .leaves(&after);
    }
}

#[test]
fn a_webhook_may_come_before_the_answer() {
    for before in [opening, finding, closing] {
        payments()
            .state(before(Standing::Waits))
            .when(reported_paid())
            .emits(&[out::succeeded()])
            .leaves(&before(Standing::Paid));
        payments()
            .state(before(Standing::Cancelled))
            .when(reported_paid())
            .emits(&[])
            .leaves(&before(Standing::RefundDue));
        payments()
            .state(before(Standing::Paid))
            .when(order_cancelled())
            .emits(&[])
            .leaves(&before(Standing::RefundDue));
    }
}

/// Whatever the answer is, the money that was reported is there.
#[test]
fn then_the_answer_changes_nothing_about_the_money() {
    let answers = || {
        [
            (opening as fn(Standing) -> Payment, opened(), open_bill()),
            (opening, refused(), page_bill()),
            (finding, found(PageFound::Open { url: URL.into() }), open_bill()),
            (finding, found(PageFound::Paid { amount: price() }), page_bill()),
            (finding, found(PageFound::Closed), page_bill()),
            (finding, found(PageFound::NotFound), page_bill()),
            (closing, closed(Closed::Closed), open_bill()),
            (
                closing,
                closed(Closed::AlreadyPaid { amount: price() }),
                open_bill(),
            ),
        ]
    };
    for (before, input, bill) in answers() {
        payments()
            .state(before(Standing::Paid))
            .when(input.clone())
            .emits(&[])
            .leaves(&Payment::Captured(bill.clone()));
        payments()
            .state(before(Standing::RefundDue))
            .when(input)
            .emits(&[out::refund()])
            .leaves(&Payment::Refunding(bill));
    }
    // Without an answer, the refund takes the question's place.
    for (state, input, bill) in [
        (
            opening(Standing::RefundDue),
            In::PageOpened(unanswered()),
            page_bill(),
        ),
        (
            finding(Standing::RefundDue),
            In::PageFound(unanswered()),
            page_bill(),
        ),
        (
            closing(Standing::RefundDue),
            In::Closed(unanswered()),
            open_bill(),
        ),
    ] {
        payments()
            .state(state)
            .when(input)
            .emits(&[out::refund()])
            .leaves(&Payment::Refunding(bill));
    }
    // And as long as the order keeps the money, the question stays open.
    payments()
        .state(opening(Standing::Paid))
        .when(In::PageOpened(unanswered()))
        .emits(&[out::query_page()])
        .leaves(&finding(Standing::Paid));
    for (state, input) in [
        (finding(Standing::Paid), In::PageFound(unanswered())),
        (closing(Standing::Paid), In::Closed(unanswered())),
    ] {
        payments()
            .state(state.clone())
            .when(input)
            .emits(&[])
            .leaves(&state);
    }
}

#[test]
fn money_that_comes_late_is_refunded() {
    for state in [
        Payment::Failed {
            bill: page_bill(),
            code: UNREACHABLE.into(),
        },
        Payment::Expired(open_bill()),
        Payment::Voided(Some(open_bill())),
    ] {
        let bill = state.bill().expect("a bill");
        let then = payments()
            .state(state)
            .when(reported_paid())
            .emits(&[out::refund()]);
        assert_eq!(then.decision().reply, Some(Ok(())));
        then.leaves(&Payment::Refunding(bill));
    }
}

#[test]
fn a_report_that_cannot_be_is_refused() {
    let another = Money::new(1, Currency::EUR);
    let yen = Money::new(1400, Currency::JPY);
    for reported in [another, yen] {
        for state in [
            Payment::PageOpen(open_bill()),
            opening(Standing::Waits),
            Payment::Captured(open_bill()),
            Payment::Expired(open_bill()),
        ] {
            let then = payments()
                .state(state.clone())
                .when(report(PageEvent::Paid { amount: reported }))
                .emits(&[]);
            let refusal = Refusal::WrongAmount {
                payment_id: payment_id(),
                expected: price(),
                reported,
            };
            assert_eq!(then.decision().reply, Some(Err(refusal)));
            then.leaves(&state);
        }
    }
    // No page was asked for, or it is not this one's.
    let foreign = In::ReportPage(PageReport {
        order_id: order_id(),
        payment_id: PaymentId(Uuid::from_u128(7)),
        event: PageEvent::Paid { amount: price() },
    });
    let then = payments()
        .state(Payment::PageOpen(open_bill()))
        .when(foreign)
        .emits(&[]);
    assert!(matches!(then.decision().reply, Some(Err(Refusal::NoPage(_)))));
    for state in [
        Payment::Absent,
        Payment::StockFirst,
        Payment::AwaitingStock(due(PaymentMethod::HostedPage)),
        Payment::Rejected(Some(page_bill())),
        Payment::Voided(None),
        asking(card_bill(), Asked::Charge, Standing::Waits),
        Payment::Captured(card_bill()),
    ] {
        for event in [
            PageEvent::Paid { amount: price() },
            PageEvent::Declined,
            PageEvent::Expired,
        ] {
            let then = payments().state(state.clone()).when(report(event)).emits(&[]);
            assert_eq!(then.decision().reply, Some(Err(Refusal::NoPage(payment_id()))));
        }
    }
}
