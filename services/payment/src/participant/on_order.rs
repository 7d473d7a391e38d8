use quadrille_contracts::order::{self, PaymentMethod};
use quadrille_contracts::{OrderId, payment};
use saga_core::{Decision, Fault, Timer};

use super::effects::{CardToken, Charge, OpenPage};
use super::moves::{close, refund, voided};
use super::{Asked, Due, Out, Payment, Payments, Standing, Unpaid};

impl Payments {
    pub(super) fn on_order_created(&self, payment: Payment, event: order::Created) -> Decision<Self> {
        let due = Due {
            order_id: event.order_id,
            amount: event.total,
            method: event.payment_method,
        };
        match payment {
            Payment::Absent => Decision::to(Payment::AwaitingStock(due)),
            Payment::StockFirst => self.begin(due),
            // Seen before, or over before it was heard of.
            payment @ (Payment::AwaitingStock(_)
            | Payment::Asking { .. }
            | Payment::PageOpen(_)
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

    pub(super) fn on_stock_reserved(&self, payment: Payment) -> Result<Decision<Self>, Fault> {
        Ok(match payment {
            Payment::Absent => Decision::to(Payment::StockFirst),
            Payment::AwaitingStock(due) => self.begin(due),
            // Seen before, or the order was cancelled meanwhile.
            payment @ (Payment::StockFirst
            | Payment::Asking { .. }
            | Payment::PageOpen(_)
            | Payment::Captured(_)
            | Payment::Refunding(_)
            | Payment::RefundParked(_)
            | Payment::Refunded(_)
            | Payment::Failed { .. }
            | Payment::Expired(_)
            | Payment::Voided(_)) => Decision::ignore(payment),
            Payment::Rejected(_) => {
                return Err(Fault::impossible(
                    "stock was reserved for an order that was rejected",
                ));
            }
        })
    }

    /// Price and goods are known: the payment begins.
    fn begin(&self, due: Due) -> Decision<Self> {
        let bill = due.bill();
        let Due {
            order_id,
            amount,
            method,
        } = due;
        let payment_id = bill.payment_id();
        let asking = |asked| Payment::Asking {
            bill,
            asked,
            standing: Standing::Waits,
        };
        match method {
            PaymentMethod::Card { token } => Decision::to(asking(Asked::Charge))
                .emit(Out::Created(payment::Created {
                    order_id,
                    payment_id,
                    amount,
                    page_url: None,
                }))
                .emit(Out::Charge(Charge {
                    payment_id,
                    order_id,
                    amount,
                    token: CardToken(token),
                })),
            // It is announced once there is a page to show.
            PaymentMethod::HostedPage => Decision::to(asking(Asked::Page)).emit(Out::OpenPage(OpenPage {
                payment_id,
                order_id,
                amount,
                expires_after: self.page_deadline,
            })),
        }
    }
}

pub(super) fn rejected(payment: Payment) -> Result<Decision<Payments>, Fault> {
    Ok(match payment {
        Payment::Absent => Decision::to(Payment::Rejected(None)),
        Payment::AwaitingStock(due) => Decision::to(Payment::Rejected(Some(due.bill()))),
        payment @ Payment::Rejected(_) => Decision::ignore(payment),
        Payment::StockFirst
        | Payment::Asking { .. }
        | Payment::PageOpen(_)
        | Payment::Captured(_)
        | Payment::Refunding(_)
        | Payment::RefundParked(_)
        | Payment::Refunded(_)
        | Payment::Failed { .. }
        | Payment::Expired(_)
        | Payment::Voided(_) => {
            return Err(Fault::impossible(
                "an order was rejected after its stock was reserved or it was cancelled",
            ));
        }
    })
}

pub(super) fn cancelled(payment: Payment, order_id: OrderId) -> Result<Decision<Payments>, Fault> {
    Ok(match payment {
        // Nothing was begun, and from here on nothing will be.
        Payment::Absent | Payment::StockFirst => Decision::to(Payment::Voided(None)).emit(voided(order_id)),
        Payment::AwaitingStock(due) => Decision::to(Payment::Voided(Some(due.bill()))).emit(voided(order_id)),
        // The answer says whether there is something to give back.
        Payment::Asking {
            bill,
            asked,
            standing,
        } => Decision::to(Payment::Asking {
            bill,
            asked,
            standing: match standing {
                Standing::Waits | Standing::Cancelled => Standing::Cancelled,
                Standing::Paid | Standing::RefundDue => Standing::RefundDue,
            },
        }),
        Payment::PageOpen(bill) => {
            close(bill, Unpaid::Expired, Standing::Cancelled).emit(Out::PageDeadline(Timer::Cancel))
        }
        Payment::Captured(bill) => refund(bill),
        // Seen before, or it was the order's answer to what we said.
        payment @ (Payment::Refunding(_)
        | Payment::RefundParked(_)
        | Payment::Refunded(_)
        | Payment::Failed { .. }
        | Payment::Expired(_)
        | Payment::Voided(_)) => Decision::ignore(payment),
        Payment::Rejected(_) => {
            return Err(Fault::impossible("an order was cancelled after it was rejected"));
        }
    })
}
