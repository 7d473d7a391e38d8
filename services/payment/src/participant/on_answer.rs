use quadrille_contracts::payment;
use saga_core::{Decision, Fault, Outcome, Timer};

use super::effects::{
    Charge, ChargeFound, Charged, Close, Closed, OpenPage, PageFound, PageOpened, QueryCharge, QueryPage,
    Refund, Refunded,
};
use super::moves::{No, ask, captured, close, no_money, not_found, refund, still_open};
use super::{Asked, Bill, DECLINED, Out, Payment, Payments, Standing, Unpaid};

pub(super) fn charged(payment: Payment, outcome: Outcome<Charge>) -> Result<Decision<Payments>, Fault> {
    let (bill, standing) = awaited(payment, |asked| asked == Asked::Charge)?;
    Ok(match outcome {
        Outcome::Answered(Charged::Captured { amount }) => captured(bill, standing, amount)?,
        Outcome::Answered(Charged::Declined { code }) => no_money(bill, standing, No::Refused(code)),
        Outcome::Exhausted { .. } => match standing {
            Standing::Waits | Standing::Paid => {
                let question = QueryCharge {
                    payment_id: bill.payment_id(),
                };
                ask(bill, Asked::WhatOfCharge, standing).emit(Out::QueryCharge(question))
            }
            // Nobody wants it any more: closing it answers the same question.
            Standing::Cancelled => close(bill, Unpaid::Unreachable, standing),
            Standing::RefundDue => refund(bill),
        },
    })
}

pub(super) fn charge_found(
    payment: Payment,
    outcome: Outcome<QueryCharge>,
) -> Result<Decision<Payments>, Fault> {
    let (bill, standing) = awaited(payment, |asked| asked == Asked::WhatOfCharge)?;
    Ok(match outcome {
        Outcome::Answered(ChargeFound::Captured { amount }) => captured(bill, standing, amount)?,
        Outcome::Answered(ChargeFound::Declined { code }) => no_money(bill, standing, No::Refused(code)),
        Outcome::Answered(ChargeFound::NotFound) => not_found(bill, standing),
        Outcome::Exhausted { .. } => still_open(bill, Asked::WhatOfCharge, standing),
    })
}

impl Payments {
    pub(super) fn on_page_opened(
        &self,
        payment: Payment,
        outcome: Outcome<OpenPage>,
    ) -> Result<Decision<Self>, Fault> {
        let (bill, standing) = awaited(payment, |asked| asked == Asked::Page)?;
        Ok(match outcome {
            Outcome::Answered(PageOpened::Opened { url }) => self.page_is_open(bill, standing, url),
            Outcome::Answered(PageOpened::Refused { code }) => no_money(bill, standing, No::Refused(code)),
            Outcome::Exhausted { .. } => match standing {
                Standing::Waits | Standing::Paid => {
                    let question = QueryPage {
                        payment_id: bill.payment_id(),
                    };
                    ask(bill, Asked::WhatOfPage, standing).emit(Out::QueryPage(question))
                }
                Standing::Cancelled => close(bill, Unpaid::Unreachable, standing),
                Standing::RefundDue => refund(bill),
            },
        })
    }

    pub(super) fn on_page_found(
        &self,
        payment: Payment,
        outcome: Outcome<QueryPage>,
    ) -> Result<Decision<Self>, Fault> {
        let (bill, standing) = awaited(payment, |asked| asked == Asked::WhatOfPage)?;
        Ok(match outcome {
            Outcome::Answered(PageFound::Open { url }) => self.page_is_open(bill, standing, url),
            Outcome::Answered(PageFound::Paid { amount }) => captured(bill, standing, amount)?,
            Outcome::Answered(PageFound::Declined) => {
                no_money(bill, standing, No::Refused(DECLINED.to_owned()))
            }
            Outcome::Answered(PageFound::Closed) => no_money(bill, standing, No::Expired),
            Outcome::Answered(PageFound::NotFound) => not_found(bill, standing),
            Outcome::Exhausted { .. } => still_open(bill, Asked::WhatOfPage, standing),
        })
    }

    fn page_is_open(&self, bill: Bill, standing: Standing, url: String) -> Decision<Self> {
        let bill = bill.at(url);
        match standing {
            Standing::Waits => {
                let created = payment::Created {
                    order_id: bill.order_id,
                    payment_id: bill.payment_id(),
                    amount: bill.amount,
                    page_url: bill.page_url().map(str::to_owned),
                };
                Decision::to(Payment::PageOpen(bill))
                    .emit(Out::Created(created))
                    .emit(Out::PageDeadline(Timer::In(self.page_deadline)))
            }
            Standing::Cancelled => close(bill, Unpaid::Expired, standing),
            Standing::Paid => Decision::to(Payment::Captured(bill)),
            Standing::RefundDue => refund(bill),
        }
    }
}

pub(super) fn closed(payment: Payment, outcome: Outcome<Close>) -> Result<Decision<Payments>, Fault> {
    let Payment::Asking {
        bill,
        asked: Asked::Close(why),
        standing,
    } = payment
    else {
        return Err(not_awaited());
    };
    Ok(match outcome {
        Outcome::Answered(Closed::Closed) => no_money(bill, standing, why.into()),
        Outcome::Answered(Closed::AlreadyPaid { amount }) => captured(bill, standing, amount)?,
        Outcome::Exhausted { .. } => still_open(bill, Asked::Close(why), standing),
    })
}

pub(super) fn refunded(payment: Payment, outcome: Outcome<Refund>) -> Result<Decision<Payments>, Fault> {
    Ok(match (payment, outcome) {
        (Payment::Refunding(bill) | Payment::RefundParked(bill), Outcome::Answered(Refunded::Refunded)) => {
            let refunded = payment::Refunded {
                order_id: bill.order_id,
                payment_id: bill.payment_id(),
                amount: bill.amount,
            };
            Decision::to(Payment::Refunded(bill)).emit(Out::Refunded(refunded))
        }
        (Payment::Refunding(bill), Outcome::Exhausted { .. }) => {
            let failed = payment::RefundFailed {
                order_id: bill.order_id,
                payment_id: bill.payment_id(),
                amount: bill.amount,
            };
            Decision::to(Payment::RefundParked(bill)).emit(Out::RefundFailed(failed))
        }
        // Replayed in vain; the order knows.
        (payment @ Payment::RefundParked(_), Outcome::Exhausted { .. }) => Decision::ignore(payment),
        (
            Payment::Absent
            | Payment::StockFirst
            | Payment::AwaitingStock(_)
            | Payment::Asking { .. }
            | Payment::PageOpen(_)
            | Payment::Captured(_)
            | Payment::Refunded(_)
            | Payment::Failed { .. }
            | Payment::Expired(_)
            | Payment::Voided(_)
            | Payment::Rejected(_),
            Outcome::Answered(_) | Outcome::Exhausted { .. },
        ) => return Err(not_awaited()),
    })
}

/// The bill that an answer is for. An answer is awaited in one state and comes in no other.
fn awaited(payment: Payment, is_asked: fn(Asked) -> bool) -> Result<(Bill, Standing), Fault> {
    match payment {
        Payment::Asking {
            bill,
            asked,
            standing,
        } if is_asked(asked) => Ok((bill, standing)),
        _ => Err(not_awaited()),
    }
}

fn not_awaited() -> Fault {
    Fault::impossible("an answer came to what was not asked")
}
