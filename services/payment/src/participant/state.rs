use quadrille_contracts::order::PaymentMethod;
use quadrille_contracts::{OrderId, PaymentId};
use saga_core::{Fault, Money};

/// What is known of the payment of one order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Payment {
    /// Nothing was heard of the order.
    #[default]
    Absent,
    /// Its stock is held, but what it costs is not known yet.
    StockFirst,
    /// It costs so much, but its stock is not held yet.
    AwaitingStock(Due),
    /// The provider was asked for something, and its answer is awaited. At most one question is open at a
    /// time, so whatever comes in between is noted in `standing` and acted upon with the answer.
    Asking {
        /// What is paid.
        bill: Bill,
        /// What the provider was asked.
        asked: Asked,
        /// What was heard since.
        standing: Standing,
    },
    /// The page is open; it is the customer's turn.
    PageOpen(Bill),
    /// The money is with us, and the order was told.
    Captured(Bill),
    /// The money is on its way back.
    Refunding(Bill),
    /// The refund got no definite answer as often as its policy allows. An operator may replay it.
    RefundParked(Bill),
    /// The money is back.
    Refunded(Bill),
    /// The provider said no.
    Failed {
        /// What was to be paid.
        bill: Bill,
        /// The provider's word for it, or [`DECLINED`] or [`UNREACHABLE`].
        code: String,
    },
    /// Nobody paid in time.
    Expired(Bill),
    /// The order was cancelled, and no money is held. No bill if the cancel overtook the order.
    Voided(Option<Bill>),
    /// The order was rejected before anything began. No bill if that overtook the order.
    Rejected(Option<Bill>),
}

/// Code of a payment that the customer's bank refused on the page.
pub const DECLINED: &str = "declined";

/// Code of a payment that never arrived at the provider.
pub const UNREACHABLE: &str = "provider_unreachable";

/// What is to be paid, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Due {
    /// The saga.
    pub order_id: OrderId,
    /// What it costs.
    pub amount: Money,
    /// The card, or the wish for a page.
    pub method: PaymentMethod,
}

/// What is paid. It knows no card: that travels with the charge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bill {
    /// The saga.
    pub order_id: OrderId,
    /// What it costs.
    pub amount: Money,
    /// How it is paid.
    pub method: Method,
}

/// How an order is paid.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// With a card.
    Card,
    /// On a page of the provider.
    Page {
        /// Where it is, once the provider said so.
        url: Option<String>,
    },
}

/// What the provider was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// To charge the card.
    Charge,
    /// What became of the charge.
    WhatOfCharge,
    /// To open a page.
    Page,
    /// What became of the page.
    WhatOfPage,
    /// To close what is there.
    Close(Unpaid),
}

/// What an order that still waits is told once its payment is closed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unpaid {
    /// The customer's time was over: `payment.expired`.
    Expired,
    /// It was refused on the page: `payment.failed`.
    Declined,
    /// The provider knew nothing of it: `payment.failed`.
    Unreachable,
}

/// What was heard while a question was open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Nothing: the order waits.
    Waits,
    /// The order was cancelled: whatever the answer is, it gets no money from us.
    Cancelled,
    /// The provider reported it paid, and the order, which waited, was told.
    Paid,
    /// The order was cancelled and it is paid: the refund begins with the answer.
    RefundDue,
}

/// Where a payment stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The order is known, its stock is not held.
    Waiting,
    /// The provider was asked to charge.
    Charging,
    /// What became of the charge is not known.
    Unknown,
    /// A page was asked for, or is open.
    PageOpen,
    /// The money is with us.
    Captured,
    /// The provider said no.
    Failed,
    /// Nobody paid in time.
    Expired,
    /// It is being closed, and may still turn out to be paid.
    Voiding,
    /// Closed before money moved.
    Voided,
    /// The money is on its way back.
    Refunding,
    /// The money is back.
    Refunded,
    /// The money is owed, and an operator has to act.
    RefundParked,
}

impl Payment {
    /// Where it stands; `None` as long as nothing was heard of the order itself.
    pub fn status(&self) -> Option<Status> {
        Some(match self {
            Payment::Absent | Payment::StockFirst => return None,
            Payment::AwaitingStock(_) => Status::Waiting,
            Payment::Asking {
                standing: Standing::Waits,
                asked,
                ..
            } => match asked {
                Asked::Charge => Status::Charging,
                Asked::WhatOfCharge => Status::Unknown,
                Asked::Page | Asked::WhatOfPage => Status::PageOpen,
                Asked::Close(_) => Status::Voiding,
            },
            Payment::Asking {
                standing: Standing::Cancelled,
                ..
            } => Status::Voiding,
            Payment::Asking {
                standing: Standing::Paid,
                ..
            }
            | Payment::Captured(_) => Status::Captured,
            Payment::Asking {
                standing: Standing::RefundDue,
                ..
            }
            | Payment::Refunding(_) => Status::Refunding,
            Payment::PageOpen(_) => Status::PageOpen,
            Payment::RefundParked(_) => Status::RefundParked,
            Payment::Refunded(_) => Status::Refunded,
            Payment::Failed { .. } => Status::Failed,
            Payment::Expired(_) => Status::Expired,
            Payment::Voided(_) | Payment::Rejected(_) => Status::Voided,
        })
    }

    /// What is paid, as far as it is known.
    pub fn bill(&self) -> Option<Bill> {
        match self {
            Payment::Absent | Payment::StockFirst => None,
            Payment::AwaitingStock(due) => Some(due.bill()),
            Payment::Asking { bill, .. }
            | Payment::PageOpen(bill)
            | Payment::Captured(bill)
            | Payment::Refunding(bill)
            | Payment::RefundParked(bill)
            | Payment::Refunded(bill)
            | Payment::Failed { bill, .. }
            | Payment::Expired(bill) => Some(bill.clone()),
            Payment::Voided(bill) | Payment::Rejected(bill) => bill.clone(),
        }
    }

    /// Whether the provider is known to have taken the customer's money, given back since or not.
    pub fn is_captured(&self) -> bool {
        match self.status() {
            Some(Status::Captured | Status::Refunding | Status::Refunded | Status::RefundParked) => true,
            Some(
                Status::Waiting
                | Status::Charging
                | Status::Unknown
                | Status::PageOpen
                | Status::Failed
                | Status::Expired
                | Status::Voiding
                | Status::Voided,
            )
            | None => false,
        }
    }

    /// Why it failed: the provider's word, or ours.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Payment::Failed { code, .. } => Some(code),
            _ => None,
        }
    }
}

impl Due {
    /// What is paid, without what it is paid with.
    pub fn bill(&self) -> Bill {
        Bill {
            order_id: self.order_id,
            amount: self.amount,
            method: match self.method {
                PaymentMethod::Card { .. } => Method::Card,
                PaymentMethod::HostedPage => Method::Page { url: None },
            },
        }
    }
}

impl Bill {
    /// Our reference at the provider.
    pub fn payment_id(&self) -> PaymentId {
        PaymentId::of(self.order_id)
    }

    /// Where the customer pays, if that is known.
    pub fn page_url(&self) -> Option<&str> {
        match &self.method {
            Method::Card | Method::Page { url: None } => None,
            Method::Page { url: Some(url) } => Some(url),
        }
    }

    /// The same with the page's address.
    pub(super) fn at(self, url: String) -> Self {
        Self {
            method: Method::Page { url: Some(url) },
            ..self
        }
    }

    /// Money that the provider took is what the order costs, or nobody may act on it.
    pub(super) fn check(&self, captured: Money) -> Result<(), Fault> {
        if captured == self.amount {
            return Ok(());
        }
        let (id, due) = (self.payment_id(), self.amount);
        Err(Fault::impossible(format!(
            "payment {id} took {captured} instead of {due}"
        )))
    }
}
