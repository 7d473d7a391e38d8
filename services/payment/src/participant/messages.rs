use quadrille_contracts::{OrderId, PaymentId, order, payment, stock};
use saga_core::{Inputs, Money, Outcome, Outputs, Timer};

use super::effects::{Charge, Close, OpenPage, QueryCharge, QueryPage, Refund};

/// What the provider reports of a page, unasked: its webhook. It may come before the answer that opened the
/// page, twice, late or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageReport {
    /// Its order. A provider that gives back our reference alone is no hindrance: who takes the report in finds
    /// the order by it, since the payment was stored before its page was asked for.
    pub order_id: OrderId,
    /// Our reference.
    pub payment_id: PaymentId,
    /// What happened.
    pub event: PageEvent,
}

/// What happened on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageEvent {
    /// Somebody paid.
    Paid {
        /// How much.
        amount: Money,
    },
    /// The customer's bank refused. Only a hint, as is the next: the provider is asked to close the page, and
    /// that answer is definite.
    Declined,
    /// It was closed by its time.
    Expired,
}

/// What payment reacts to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Inputs)]
pub enum In {
    /// What is to be paid, and how.
    #[event]
    OrderCreated(order::Created),
    /// The goods are there: the payment may begin.
    #[event]
    StockReserved(stock::Reserved),
    /// They are not.
    #[event]
    OrderRejected(order::Rejected),
    /// Give back what was taken; take nothing more.
    #[event]
    OrderCancelled(order::Cancelled),
    /// The provider's webhook.
    #[command]
    ReportPage(PageReport),
    /// The customer had time enough.
    #[timer]
    PageDeadline,
    /// What came of the charge.
    #[result]
    Charged(Outcome<Charge>),
    /// What became of it.
    #[result]
    ChargeFound(Outcome<QueryCharge>),
    /// What came of opening the page.
    #[result]
    PageOpened(Outcome<OpenPage>),
    /// What became of it.
    #[result]
    PageFound(Outcome<QueryPage>),
    /// What came of closing.
    #[result]
    Closed(Outcome<Close>),
    /// What came of the refund.
    #[result]
    Refunded(Outcome<Refund>),
}

/// What payment puts out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
pub enum Out {
    /// A charge is on its way, or a page waits for the customer.
    #[event]
    Created(payment::Created),
    /// The money is there. Said only while the order waits for it.
    #[event]
    Succeeded(payment::Succeeded),
    /// The provider said no.
    #[event]
    Failed(payment::Failed),
    /// Nobody paid in time.
    #[event]
    Expired(payment::Expired),
    /// The order was cancelled, and no money is held.
    #[event]
    Voided(payment::Voided),
    /// The money is back.
    #[event]
    Refunded(payment::Refunded),
    /// It is still owed.
    #[event]
    RefundFailed(payment::RefundFailed),
    /// When the customer had time enough.
    #[timer]
    PageDeadline(Timer),
    /// Charge the card.
    #[effect]
    Charge(Charge),
    /// Ask what became of the charge.
    #[effect]
    QueryCharge(QueryCharge),
    /// Open a page.
    #[effect]
    OpenPage(OpenPage),
    /// Ask what became of the page.
    #[effect]
    QueryPage(QueryPage),
    /// Close whatever is there.
    #[effect]
    Close(Close),
    /// Give the money back.
    #[effect]
    Refund(Refund),
}

/// Why a report changed nothing. The provider will send it again, and somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No page was ever asked for under this reference.
    #[error("payment {0} has no page")]
    NoPage(PaymentId),
    /// Neither can the order be confirmed with this, nor is it ours to keep.
    #[error("payment {payment_id} was to be {expected}, and {reported} is reported")]
    WrongAmount {
        /// Our reference.
        payment_id: PaymentId,
        /// What the order costs.
        expected: Money,
        /// What the provider says.
        reported: Money,
    },
}
