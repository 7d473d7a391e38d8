use quadrille_contracts::PaymentId;
use saga_core::{Decision, Timer};

use super::moves::{ask, close, refund, succeeded};
use super::{Bill, Method, Out, PageEvent, PageReport, Payment, Payments, Refusal, Standing, Unpaid};

pub(super) fn deadline(payment: Payment) -> Decision<Payments> {
    match payment {
        Payment::PageOpen(bill) => close(bill, Unpaid::Expired, Standing::Waits),
        // It fired while the page was left.
        payment @ (Payment::Absent
        | Payment::StockFirst
        | Payment::AwaitingStock(_)
        | Payment::Asking { .. }
        | Payment::Captured(_)
        | Payment::Refunding(_)
        | Payment::RefundParked(_)
        | Payment::Refunded(_)
        | Payment::Failed { .. }
        | Payment::Expired(_)
        | Payment::Voided(_)
        | Payment::Rejected(_)) => Decision::ignore(payment),
    }
}

/// The webhook. It is believed when it says "paid", because it is signed and its amount is checked; but
/// what it says of a page that nobody asked for, or of another amount, changes nothing and is refused: the
/// provider keeps sending it, which is seen. Should the money be there all the same, the answer to `Close`
/// has the same amount and parks the payment.
pub(super) fn report(payment: Payment, report: PageReport) -> Decision<Payments> {
    let PageReport {
        payment_id, event, ..
    } = report;
    let expected = match payment.bill() {
        Some(Bill {
            order_id,
            amount,
            method: Method::Page { .. },
        }) if report.order_id == order_id && report.payment_id == PaymentId::of(order_id) => amount,
        Some(_) | None => return Decision::refuse(payment, Refusal::NoPage(payment_id)),
    };
    match event {
        PageEvent::Paid { amount: reported } if reported != expected => Decision::refuse(
            payment,
            Refusal::WrongAmount {
                payment_id,
                expected,
                reported,
            },
        ),
        PageEvent::Paid { .. } => paid(payment, payment_id),
        PageEvent::Declined => ended(payment, payment_id, Unpaid::Declined),
        PageEvent::Expired => ended(payment, payment_id, Unpaid::Expired),
    }
}

fn paid(payment: Payment, payment_id: PaymentId) -> Decision<Payments> {
    match payment {
        Payment::PageOpen(bill) => {
            let succeeded = succeeded(&bill);
            Decision::to(Payment::Captured(bill))
                .emit(succeeded)
                .emit(Out::PageDeadline(Timer::Cancel))
        }
        // The order is told at once; what else is to be done waits for the open answer.
        Payment::Asking {
            bill,
            asked,
            standing: Standing::Waits,
        } => {
            let succeeded = succeeded(&bill);
            ask(bill, asked, Standing::Paid).emit(succeeded)
        }
        Payment::Asking {
            bill,
            asked,
            standing: Standing::Cancelled,
        } => ask(bill, asked, Standing::RefundDue),
        // Too late: nobody waits for it.
        Payment::Failed { bill, .. } | Payment::Expired(bill) | Payment::Voided(Some(bill)) => refund(bill),
        // Heard before.
        payment @ (Payment::Asking {
            standing: Standing::Paid | Standing::RefundDue,
            ..
        }
        | Payment::Captured(_)
        | Payment::Refunding(_)
        | Payment::RefundParked(_)
        | Payment::Refunded(_)) => Decision::ignore(payment),
        payment @ (Payment::Absent
        | Payment::StockFirst
        | Payment::AwaitingStock(_)
        | Payment::Voided(None)
        | Payment::Rejected(_)) => return Decision::refuse(payment, Refusal::NoPage(payment_id)),
    }
    .reply(())
}

/// That a page has ended is a hint: closing it says whether that is so, and makes it so.
fn ended(payment: Payment, payment_id: PaymentId, why: Unpaid) -> Decision<Payments> {
    match payment {
        Payment::PageOpen(bill) => close(bill, why, Standing::Waits).emit(Out::PageDeadline(Timer::Cancel)),
        // No news, or the open answer says so anyway.
        payment @ (Payment::Asking { .. }
        | Payment::Captured(_)
        | Payment::Refunding(_)
        | Payment::RefundParked(_)
        | Payment::Refunded(_)
        | Payment::Failed { .. }
        | Payment::Expired(_)
        | Payment::Voided(Some(_))) => Decision::ignore(payment),
        payment @ (Payment::Absent
        | Payment::StockFirst
        | Payment::AwaitingStock(_)
        | Payment::Voided(None)
        | Payment::Rejected(_)) => return Decision::refuse(payment, Refusal::NoPage(payment_id)),
    }
    .reply(())
}
