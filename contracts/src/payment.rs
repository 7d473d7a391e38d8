//! Payment's events. `payment.succeeded` is said only while the order still waits for it: money that
//! arrives later is refunded instead.

use saga_core::{Event, Money};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{OrderId, PaymentId};

/// Topic of these events; key: the order's id.
pub const TOPIC: &str = "payment-events";

/// A payment was begun: a charge is on its way, or a page waits for the customer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "payment-events", name = "payment.created", key = order_id)]
pub struct Created {
    /// The saga.
    pub order_id: OrderId,
    /// Our reference at the provider.
    pub payment_id: PaymentId,
    /// What is to be paid.
    pub amount: Money,
    /// Where the customer pays; none for a card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_url: Option<String>,
}

/// The money is with us.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "payment-events", name = "payment.succeeded", key = order_id)]
pub struct Succeeded {
    /// The saga.
    pub order_id: OrderId,
    /// Our reference at the provider.
    pub payment_id: PaymentId,
    /// What was captured.
    pub amount: Money,
}

/// The provider said no, definitely. Nothing is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "payment-events", name = "payment.failed", key = order_id, refusal)]
pub struct Failed {
    /// The saga.
    pub order_id: OrderId,
    /// Our reference at the provider.
    pub payment_id: PaymentId,
    /// The provider's word for it: `insufficient_funds`.
    pub code: String,
}

/// Nobody paid in time, and the page is closed. Nothing is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "payment-events", name = "payment.expired", key = order_id, refusal)]
pub struct Expired {
    /// The saga.
    pub order_id: OrderId,
    /// Our reference at the provider.
    pub payment_id: PaymentId,
}

/// The order was cancelled, and no money is held for it, nor will be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "payment-events", name = "payment.voided", key = order_id)]
pub struct Voided {
    /// The saga.
    pub order_id: OrderId,
    /// Our reference at the provider.
    pub payment_id: PaymentId,
}

/// What was captured is back with the customer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "payment-events", name = "payment.refunded", key = order_id)]
pub struct Refunded {
    /// The saga.
    pub order_id: OrderId,
    /// Our reference at the provider.
    pub payment_id: PaymentId,
    /// What was paid back.
    pub amount: Money,
}

/// The refund was tried as often as its policy allows. The money is still owed; an operator can replay it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "payment-events", name = "payment.refund_failed", key = order_id)]
pub struct RefundFailed {
    /// The saga.
    pub order_id: OrderId,
    /// Our reference at the provider.
    pub payment_id: PaymentId,
    /// What is owed.
    pub amount: Money,
}
