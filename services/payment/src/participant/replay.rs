use quadrille_contracts::{OrderId, PaymentId, order, payment};
use saga_core::replay::{Replay, Told};
use saga_core::{Event as _, Outcome};

use super::effects::{ChargeFound, Charged, Closed, PageFound, PageOpened, Refunded};
use super::{Asked, Bill, DECLINED, In, Method, PageEvent, PageReport, Payment, Payments};

/// What the provider said is in no topic, but for what came of it. At most one question is open, so there are few
/// answers that it may have given.
impl Replay for Payments {
    const BEGINS: &'static str = order::Created::NAME;

    fn unrecorded(&self, _: &OrderId, payment: &Payment, told: &[Told]) -> Vec<In> {
        let mut inputs = match payment {
            Payment::Asking { bill, asked, .. } => answers(bill, *asked, told),
            Payment::PageOpen(_) => vec![In::PageDeadline],
            Payment::Refunding(_) => vec![
                In::Refunded(Outcome::Answered(Refunded::Refunded)),
                In::Refunded(exhausted()),
            ],
            Payment::RefundParked(_) => vec![In::Refunded(Outcome::Answered(Refunded::Refunded))],
            Payment::Absent
            | Payment::StockFirst
            | Payment::AwaitingStock(_)
            | Payment::Captured(_)
            | Payment::Refunded(_)
            | Payment::Failed { .. }
            | Payment::Expired(_)
            | Payment::Voided(_)
            | Payment::Rejected(_) => Vec::new(),
        };
        inputs.extend(payment.bill().into_iter().flat_map(reports));
        inputs
    }
}

/// What the provider may have answered.
fn answers(bill: &Bill, asked: Asked, told: &[Told]) -> Vec<In> {
    let amount = bill.amount;
    let code = || text(told, payment::Failed::NAME, "code").unwrap_or_else(|| DECLINED.to_owned());
    let url = || {
        text(told, payment::Created::NAME, "page_url")
            .or_else(|| bill.page_url().map(str::to_owned))
            .unwrap_or_else(|| "https://provider.invalid/page".to_owned())
    };
    match asked {
        Asked::Charge => vec![
            In::Charged(Outcome::Answered(Charged::Captured { amount })),
            In::Charged(Outcome::Answered(Charged::Declined { code: code() })),
            In::Charged(exhausted()),
        ],
        Asked::WhatOfCharge => vec![
            In::ChargeFound(Outcome::Answered(ChargeFound::Captured { amount })),
            In::ChargeFound(Outcome::Answered(ChargeFound::Declined { code: code() })),
            In::ChargeFound(Outcome::Answered(ChargeFound::NotFound)),
            In::ChargeFound(exhausted()),
        ],
        Asked::Page => vec![
            In::PageOpened(Outcome::Answered(PageOpened::Opened { url: url() })),
            In::PageOpened(Outcome::Answered(PageOpened::Refused { code: code() })),
            In::PageOpened(exhausted()),
        ],
        Asked::WhatOfPage => vec![
            In::PageFound(Outcome::Answered(PageFound::Open { url: url() })),
            In::PageFound(Outcome::Answered(PageFound::Paid { amount })),
            In::PageFound(Outcome::Answered(PageFound::Declined)),
            In::PageFound(Outcome::Answered(PageFound::Closed)),
            In::PageFound(Outcome::Answered(PageFound::NotFound)),
            In::PageFound(exhausted()),
        ],
        Asked::Close(_) => vec![
            In::Closed(Outcome::Answered(Closed::Closed)),
            In::Closed(Outcome::Answered(Closed::AlreadyPaid { amount })),
            In::Closed(exhausted()),
        ],
    }
}

/// What the provider may have reported of a page, unasked.
fn reports(bill: Bill) -> Vec<In> {
    let Bill {
        order_id,
        amount,
        method: Method::Page { .. },
    } = bill
    else {
        return Vec::new();
    };
    [
        PageEvent::Paid { amount },
        PageEvent::Declined,
        PageEvent::Expired,
    ]
    .map(|event| {
        In::ReportPage(PageReport {
            order_id,
            payment_id: PaymentId::of(order_id),
            event,
        })
    })
    .into()
}

fn exhausted<E: saga_core::Effect>() -> Outcome<E> {
    Outcome::Exhausted { attempts: 1 }
}

/// A text of what was told.
fn text(told: &[Told], name: &str, field: &str) -> Option<String> {
    let event = told.iter().find(|event| event.name == name)?;
    event.data[field].as_str().map(str::to_owned)
}
