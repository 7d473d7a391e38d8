use quadrille_contracts::{OrderId, PaymentId, payment};
use saga_core::{Decision, Fault, Money};

use super::effects::{Close, Refund, RefundId};
use super::{Asked, Bill, DECLINED, Out, Payment, Payments, Standing, UNREACHABLE, Unpaid};

/// A definite no.
pub(super) enum No {
    /// Nobody paid in time, and nobody can any more.
    Expired,
    /// It was refused, or never arrived; with the code.
    Refused(String),
}

impl From<Unpaid> for No {
    fn from(why: Unpaid) -> Self {
        match why {
            Unpaid::Expired => No::Expired,
            Unpaid::Declined => No::Refused(DECLINED.to_owned()),
            Unpaid::Unreachable => No::Refused(UNREACHABLE.to_owned()),
        }
    }
}

/// Waits for the provider's answer.
pub(super) fn ask(bill: Bill, asked: Asked, standing: Standing) -> Decision<Payments> {
    Decision::to(Payment::Asking {
        bill,
        asked,
        standing,
    })
}

/// Shuts the door at the provider, for what is there and for what may still arrive.
pub(super) fn close(bill: Bill, why: Unpaid, standing: Standing) -> Decision<Payments> {
    let effect = Close {
        payment_id: bill.payment_id(),
    };
    ask(bill, Asked::Close(why), standing).emit(Out::Close(effect))
}

/// Gives the money back.
pub(super) fn refund(bill: Bill) -> Decision<Payments> {
    let payment_id = bill.payment_id();
    let effect = Refund {
        payment_id,
        refund_id: RefundId::of(payment_id),
        amount: bill.amount,
    };
    Decision::to(Payment::Refunding(bill)).emit(Out::Refund(effect))
}

/// What the order is told that waits for its money.
pub(super) fn succeeded(bill: &Bill) -> Out {
    Out::Succeeded(payment::Succeeded {
        order_id: bill.order_id,
        payment_id: bill.payment_id(),
        amount: bill.amount,
    })
}

/// What a cancelled order is told of which no money is held.
pub(super) fn voided(order_id: OrderId) -> Out {
    let payment_id = PaymentId::of(order_id);
    Out::Voided(payment::Voided { order_id, payment_id })
}

/// The provider has the money.
pub(super) fn captured(bill: Bill, standing: Standing, amount: Money) -> Result<Decision<Payments>, Fault> {
    bill.check(amount)?;
    Ok(match standing {
        Standing::Waits => {
            let succeeded = succeeded(&bill);
            Decision::to(Payment::Captured(bill)).emit(succeeded)
        }
        Standing::Paid => Decision::to(Payment::Captured(bill)),
        Standing::Cancelled | Standing::RefundDue => refund(bill),
    })
}

/// It has none, and will have none. But what was reported paid since *is* paid: some ways of paying arrive
/// after the page was closed. Should it not be, its refund is refused and waits for an operator.
pub(super) fn no_money(bill: Bill, standing: Standing, no: No) -> Decision<Payments> {
    let (order_id, payment_id) = (bill.order_id, bill.payment_id());
    match (standing, no) {
        (Standing::Waits, No::Expired) => {
            Decision::to(Payment::Expired(bill)).emit(Out::Expired(payment::Expired { order_id, payment_id }))
        }
        (Standing::Waits, No::Refused(code)) => Decision::to(Payment::Failed {
            bill,
            code: code.clone(),
        })
        .emit(Out::Failed(payment::Failed {
            order_id,
            payment_id,
            code,
        })),
        (Standing::Cancelled, No::Expired | No::Refused(_)) => {
            Decision::to(Payment::Voided(Some(bill))).emit(voided(order_id))
        }
        (Standing::Paid, No::Expired | No::Refused(_)) => Decision::to(Payment::Captured(bill)),
        (Standing::RefundDue, No::Expired | No::Refused(_)) => refund(bill),
    }
}

/// It does not know the payment, which says nothing about a call that is still under way.
pub(super) fn not_found(bill: Bill, standing: Standing) -> Decision<Payments> {
    match standing {
        Standing::Waits | Standing::Cancelled => close(bill, Unpaid::Unreachable, standing),
        Standing::Paid => Decision::to(Payment::Captured(bill)),
        Standing::RefundDue => refund(bill),
    }
}

/// It stays silent. The question stays open, where an operator sees it and may ask it again; unless there
/// is something better to do in its place.
pub(super) fn still_open(bill: Bill, asked: Asked, standing: Standing) -> Decision<Payments> {
    match standing {
        Standing::Waits | Standing::Cancelled | Standing::Paid => ask(bill, asked, standing),
        Standing::RefundDue => refund(bill),
    }
}
