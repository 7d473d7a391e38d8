//! Calls to the payment provider, as data, and what a provider's adapter has to hold for them to be safe.
//!
//! 1. **One reference.** Everything of a payment lives at the provider under our [`PaymentId`], which is
//!    derived from the order: at most one charge or page per reference, at most one refund per [`RefundId`].
//! 2. **The idempotency key belongs to the thing, not to the call.** It is `idempotency_key()` below, derived
//!    from the reference, and not the effect's own id: whoever asks for the same thing a second time, in
//!    whatever effect, in whatever restored database, gets the first one's answer. There is no second charge.
//! 3. **Only what can no longer change is an answer.** "Processing", a timeout, a 5xx, and a refund that is
//!    refused are none: they are tried again, and in the end the outcome is unknown.
//! 4. **"Not found" is not "no".** A call that timed out may still be under way and arrive after the question.
//!    So nobody concludes from it that nothing will be charged; [`Close`] comes next, and the provider
//!    remembers it: whatever arrives under a closed reference later is refused. A provider that has no such
//!    call needs an adapter which answers [`Closed::Closed`] for an unknown reference only once no request of
//!    ours can still be done: because none can be under way any more, or because its key is taken.
//! 5. **Amounts come from the provider's books**, not from what was asked for. One that differs from the
//!    bill parks the payment.

use std::fmt;
use std::time::Duration;

use quadrille_contracts::{OrderId, PaymentId};
use saga_core::{Effect, Money, RetryPolicy, Role};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Charge a card. Key: `charge:<payment>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Charge {
    /// Our reference.
    pub payment_id: PaymentId,
    /// For people who look at the provider's books.
    pub order_id: OrderId,
    /// How much.
    pub amount: Money,
    /// Which card.
    pub token: CardToken,
}

/// What came of a [`Charge`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Charged {
    /// The money is with us.
    Captured {
        /// How much.
        amount: Money,
    },
    /// The bank said no, and no money will move.
    Declined {
        /// The provider's word for it.
        code: String,
    },
}

/// Ask what became of a charge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QueryCharge {
    /// Our reference.
    pub payment_id: PaymentId,
}

/// What became of a charge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeFound {
    /// The money is with us.
    Captured {
        /// How much.
        amount: Money,
    },
    /// The bank said no, and no money will move.
    Declined {
        /// The provider's word for it.
        code: String,
    },
    /// It has not arrived at the provider. It still may.
    NotFound,
}

/// Open a page where the customer pays. Key: `page:<payment>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OpenPage {
    /// Our reference.
    pub payment_id: PaymentId,
    /// For people who look at the provider's page.
    pub order_id: OrderId,
    /// How much.
    pub amount: Money,
    /// When the provider closes it by itself.
    pub expires_after: Duration,
}

/// What came of an [`OpenPage`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageOpened {
    /// It was opened.
    Opened {
        /// Where it is.
        url: String,
    },
    /// There will be none.
    Refused {
        /// The provider's word for it.
        code: String,
    },
}

/// Ask what became of a page.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QueryPage {
    /// Our reference.
    pub payment_id: PaymentId,
}

/// What became of a page.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageFound {
    /// It is open, and nobody paid yet.
    Open {
        /// Where it is.
        url: String,
    },
    /// Somebody paid.
    Paid {
        /// How much.
        amount: Money,
    },
    /// The customer's bank refused, and that was the end of it.
    Declined,
    /// It is closed, and nobody paid.
    Closed,
    /// The provider was never asked for it. It still may be.
    NotFound,
}

/// Close whatever is, or ever will be, under our reference: a page, or a charge that has not arrived.
/// Key: `close:<payment>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Close {
    /// Our reference.
    pub payment_id: PaymentId,
}

/// What came of a [`Close`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// No money moved, and none will.
    Closed,
    /// Too late: it was paid before.
    AlreadyPaid {
        /// How much.
        amount: Money,
    },
}

/// Give back all of what was captured. Key: `refund:<refund>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Refund {
    /// Our reference.
    pub payment_id: PaymentId,
    /// Our reference of the refund.
    pub refund_id: RefundId,
    /// How much.
    pub amount: Money,
}

/// The money is on its way back. There is no "no": a refund that a provider refuses is still owed, so it is
/// tried again and then waits for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refunded {
    /// It is.
    Refunded,
}

/// Our reference of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RefundId(pub Uuid);

/// The provider's token of a card. It may be worth money, so it is never printed.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CardToken(pub String);

impl RefundId {
    /// The refund of a payment: there is one, of all of it.
    pub fn of(payment: PaymentId) -> Self {
        Self(Uuid::new_v5(&payment.0, b"refund"))
    }
}

impl Charge {
    /// See rule 2.
    pub fn idempotency_key(&self) -> String {
        Self::key_of(self.payment_id)
    }

    /// The key that the charge of a payment has, or would have.
    pub fn key_of(payment_id: PaymentId) -> String {
        format!("charge:{payment_id}")
    }
}

impl OpenPage {
    /// See rule 2.
    pub fn idempotency_key(&self) -> String {
        Self::key_of(self.payment_id)
    }

    /// The key that the page of a payment has, or would have.
    pub fn key_of(payment_id: PaymentId) -> String {
        format!("page:{payment_id}")
    }
}

impl Close {
    /// See rule 2.
    pub fn idempotency_key(&self) -> String {
        format!("close:{}", self.payment_id)
    }
}

impl Refund {
    /// See rule 2.
    pub fn idempotency_key(&self) -> String {
        format!("refund:{}", self.refund_id.0)
    }
}

impl Effect for Charge {
    const KIND: &'static str = "charge";
    const POLICY: RetryPolicy = RetryPolicy::INTERACTIVE;
    type Answer = Charged;
}

impl Effect for QueryCharge {
    const KIND: &'static str = "query_charge";
    const POLICY: RetryPolicy = RetryPolicy::PERSISTENT;
    const ROLE: Role = Role::Asks;
    type Answer = ChargeFound;
}

impl Effect for OpenPage {
    const KIND: &'static str = "open_page";
    const POLICY: RetryPolicy = RetryPolicy::INTERACTIVE;
    type Answer = PageOpened;
}

impl Effect for QueryPage {
    const KIND: &'static str = "query_page";
    const POLICY: RetryPolicy = RetryPolicy::PERSISTENT;
    const ROLE: Role = Role::Asks;
    type Answer = PageFound;
}

impl Effect for Close {
    const KIND: &'static str = "close";
    const POLICY: RetryPolicy = RetryPolicy::PERSISTENT;
    type Answer = Closed;
}

impl Effect for Refund {
    const KIND: &'static str = "refund";
    const POLICY: RetryPolicy = RetryPolicy::PERSISTENT;
    type Answer = Refunded;
}

impl fmt::Debug for CardToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
