use super::*;

#[test]
fn a_payment_is_shown_as_its_order_must_see_it() {
    use Standing::{Cancelled, Paid, RefundDue, Waits};
    let page = |asked, standing| asking(page_bill(), asked, standing);
    for (state, status, captured) in [
        (Payment::Absent, None, false),
        (Payment::StockFirst, None, false),
        (Payment::AwaitingStock(due(card())), Some(Status::Waiting), false),
        (
            asking(card_bill(), Asked::Charge, Waits),
            Some(Status::Charging),
            false,
        ),
        (
            asking(card_bill(), Asked::WhatOfCharge, Waits),
            Some(Status::Unknown),
            false,
        ),
        (
            asking(card_bill(), Asked::Charge, Cancelled),
            Some(Status::Voiding),
            false,
        ),
        (page(Asked::Page, Waits), Some(Status::PageOpen), false),
        (page(Asked::WhatOfPage, Waits), Some(Status::PageOpen), false),
        (
            page(Asked::Close(Unpaid::Expired), Waits),
            Some(Status::Voiding),
            false,
        ),
        (page(Asked::Page, Paid), Some(Status::Captured), true),
        (page(Asked::Page, RefundDue), Some(Status::Refunding), true),
        (Payment::PageOpen(open_bill()), Some(Status::PageOpen), false),
        (Payment::Captured(card_bill()), Some(Status::Captured), true),
        (Payment::Refunding(card_bill()), Some(Status::Refunding), true),
        (
            Payment::RefundParked(card_bill()),
            Some(Status::RefundParked),
            true,
        ),
        (Payment::Refunded(card_bill()), Some(Status::Refunded), true),
        (Payment::Expired(open_bill()), Some(Status::Expired), false),
        (Payment::Voided(None), Some(Status::Voided), false),
        (Payment::Rejected(None), Some(Status::Voided), false),
    ] {
        assert_eq!(
            (state.status(), state.is_captured()),
            (status, captured),
            "{state:?}"
        );
    }
    let failed = Payment::Failed {
        bill: card_bill(),
        code: "stolen".into(),
    };
    assert_eq!(
        (failed.status(), failed.reason()),
        (Some(Status::Failed), Some("stolen"))
    );
    let open = Payment::PageOpen(open_bill()).bill().expect("a bill");
    assert_eq!((open.page_url(), open.amount), (Some(URL), price()));
}

/// A key that changed would let a second charge through for a payment that is under way during the upgrade.
#[test]
fn the_keys_at_the_provider_are_pinned() {
    let (Out::Charge(charge), Out::OpenPage(page), Out::Close(close), Out::Refund(refund)) =
        (out::charge(), out::open_page(), out::close(), out::refund())
    else {
        panic!("four effects");
    };
    assert_eq!(
        [
            charge.idempotency_key(),
            page.idempotency_key(),
            close.idempotency_key(),
            refund.idempotency_key()
        ],
        [
            "charge:c14c3469-f156-5225-83a0-ef96ba61d6b2",
            "page:c14c3469-f156-5225-83a0-ef96ba61d6b2",
            "close:c14c3469-f156-5225-83a0-ef96ba61d6b2",
            "refund:c2c5af0e-ca46-585d-8fe1-3cecbdf77978",
        ]
    );
}

#[test]
fn a_card_is_never_printed() {
    for printed in [
        format!("{:?}", out::charge()),
        format!("{:?}", order_created(card())),
        format!("{:?}", Payment::AwaitingStock(due(card()))),
    ] {
        assert!(
            printed.contains("***") && !printed.contains("tok_ok"),
            "{printed}"
        );
    }
}
