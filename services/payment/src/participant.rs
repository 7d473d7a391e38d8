//! Payment's part in the order saga: take the money once the stock is held, and give it back if the order
//! ends otherwise.
//!
//! What makes it hard is that the provider's answer may be missing, and that everything crosses. Four rules:
//! * **Unknown is not failed.** An exhausted charge or page is asked after, and what the provider does not know
//!   is closed there, until it is definitely paid or definitely not ([`effects`]).
//! * **`payment.succeeded` is said only while the order waits.** Money that turns up in any other state is
//!   refunded: after a cancel, an expiry, a failure.
//! * **One question at a time.** What comes while an answer is awaited is noted ([`Standing`]) and acted upon with
//!   the answer, so that no refund overtakes the charge that it undoes.
//! * **A question that is exhausted is still open** unless another takes its place in that same decision: an
//!   operator may replay it at any time.

use std::time::Duration;

use quadrille_contracts::OrderId;
use saga_core::{At, Decision, Fault, Nothing, Participant, Step, View, steps};

pub use messages::{In, Out, PageEvent, PageReport, Refusal};
pub use state::{Asked, Bill, DECLINED, Due, Method, Payment, Standing, Status, UNREACHABLE, Unpaid};

/// What is asked of the provider.
pub mod effects;
/// What it hears and says.
mod messages;
/// The moves that several inputs lead to.
mod moves;
/// What it does when the provider answers.
mod on_answer;
/// What it does when it hears of the order.
mod on_order;
/// What it does when it hears of the page, unasked.
mod on_page;
/// What it knows of one payment.
mod state;

/// What no topic records of it.
mod replay;

#[cfg(test)]
mod tests;

/// Policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payments {
    /// How long a customer has to pay on a page. Shorter than the order's own deadline.
    pub page_deadline: Duration,
}

impl Default for Payments {
    fn default() -> Self {
        Self {
            page_deadline: Duration::from_secs(24 * 3600),
        }
    }
}

impl Participant for Payments {
    const NAME: &'static str = "payment";
    const STEPS: &'static [Step] = steps! { In, Out;
        OrderCreated   => [Created, Charge, OpenPage];
        StockReserved  => [Created, Charge, OpenPage];
        OrderRejected  => [];
        OrderCancelled => [Voided, Close, Refund, PageDeadline] undoes [Charge, OpenPage];
        ReportPage     => [Succeeded, Close, Refund, PageDeadline];
        PageDeadline   => [Close] undoes [OpenPage];
        Charged        => [Succeeded, Failed, Voided, QueryCharge, Close, Refund];
        ChargeFound    => [Succeeded, Failed, Voided, Close, Refund];
        PageOpened     => [Created, PageDeadline, Failed, Voided, QueryPage, Close, Refund];
        PageFound      => [Created, PageDeadline, Succeeded, Failed, Expired, Voided, Close, Refund];
        Closed         => [Succeeded, Failed, Expired, Voided, Refund];
        Refunded       => [Refunded, RefundFailed];
    };
    type Key = OrderId;
    type State = Payment;
    type SharedKey = Nothing;
    type Shared = ();
    type Input = In;
    type Output = Out;
    /// A report is noted; there is nothing to tell.
    type Reply = ();
    type Refusal = Refusal;

    fn key(&self, input: &In) -> Option<OrderId> {
        match input {
            In::OrderCreated(event) => Some(event.order_id),
            In::StockReserved(event) => Some(event.order_id),
            In::OrderRejected(event) => Some(event.order_id),
            In::OrderCancelled(event) => Some(event.order_id),
            In::ReportPage(report) => Some(report.order_id),
            In::PageDeadline
            | In::Charged(_)
            | In::ChargeFound(_)
            | In::PageOpened(_)
            | In::PageFound(_)
            | In::Closed(_)
            | In::Refunded(_) => None,
        }
    }

    /// One function per input, each with an arm for every state: a new input does not compile until it has
    /// one, a new state until each of them has an answer.
    fn decide(
        &self,
        payment: Payment,
        _: &mut View<'_, Nothing, ()>,
        at: At<In>,
    ) -> Result<Decision<Self>, Fault> {
        match at.input {
            In::OrderCreated(event) => Ok(self.on_order_created(payment, event)),
            In::StockReserved(_) => self.on_stock_reserved(payment),
            In::OrderRejected(_) => on_order::rejected(payment),
            In::OrderCancelled(event) => on_order::cancelled(payment, event.order_id),
            In::ReportPage(report) => Ok(on_page::report(payment, report)),
            In::PageDeadline => Ok(on_page::deadline(payment)),
            In::Charged(outcome) => on_answer::charged(payment, outcome),
            In::ChargeFound(outcome) => on_answer::charge_found(payment, outcome),
            In::PageOpened(outcome) => self.on_page_opened(payment, outcome),
            In::PageFound(outcome) => self.on_page_found(payment, outcome),
            In::Closed(outcome) => on_answer::closed(payment, outcome),
            In::Refunded(outcome) => on_answer::refunded(payment, outcome),
        }
    }

    /// Captured money may still be asked back by a cancel that crosses with it, but that takes no longer
    /// than a message is kept, and nothing is pruned before that.
    fn is_ended(&self, payment: &Payment) -> bool {
        match payment {
            Payment::Captured(_)
            | Payment::Refunded(_)
            | Payment::Failed { .. }
            | Payment::Expired(_)
            | Payment::Voided(_)
            | Payment::Rejected(_) => true,
            Payment::Absent
            | Payment::StockFirst
            | Payment::AwaitingStock(_)
            | Payment::Asking { .. }
            | Payment::PageOpen(_)
            | Payment::Refunding(_)
            | Payment::RefundParked(_) => false,
        }
    }
}
