//! The order's events. `order.cancelled` is the one signal that undoes.

use saga_core::{Event, Money};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{OrderId, ProductId};

/// Topic of these events; key: the order's id.
pub const TOPIC: &str = "order-events";

/// What was ordered, at the price that the order was taken at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// Which product.
    pub product_id: ProductId,
    /// How many.
    pub quantity: u32,
    /// Price of one.
    pub unit_price: Money,
}

/// How the customer pays.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PaymentMethod {
    /// At once, with a card's token.
    Card {
        /// The provider's token of the card.
        token: String,
    },
    /// On a page of the provider, within a day.
    HostedPage,
}

/// A customer placed an order, and the catalogue had prices for all of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "order-events", name = "order.created", key = order_id)]
pub struct Created {
    /// The saga.
    pub order_id: OrderId,
    /// Who placed it.
    pub owner: String,
    /// What was ordered; each product once.
    pub lines: Vec<Line>,
    /// Sum of the lines.
    pub total: Money,
    /// How it will be paid.
    pub payment_method: PaymentMethod,
}

/// The order ended before anything was charged: there is no stock for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "order-events", name = "order.rejected", key = order_id)]
pub struct Rejected {
    /// The saga.
    pub order_id: OrderId,
}

/// The pivot: the money is there, the goods go out. From here on nothing is undone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "order-events", name = "order.confirmed", key = order_id)]
pub struct Confirmed {
    /// The saga.
    pub order_id: OrderId,
}

/// Why an order was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// The bank said no.
    PaymentFailed,
    /// Nobody paid on the page in time.
    PaymentExpired,
    /// The customer asked for it.
    Customer,
    /// The order's own deadline passed.
    Deadline,
}

/// Whatever was done for the order is to be undone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "order-events", name = "order.cancelled", key = order_id)]
pub struct Cancelled {
    /// The saga.
    pub order_id: OrderId,
    /// Why.
    pub reason: CancelReason,
}

/// The money of a cancelled order is back with the customer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "order-events", name = "order.refunded", key = order_id)]
pub struct Refunded {
    /// The saga.
    pub order_id: OrderId,
    /// What was paid back.
    pub amount: Money,
}

/// A card's token may be worth money: it is not printed.
impl std::fmt::Debug for PaymentMethod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PaymentMethod::Card { .. } => f.write_str("Card { token: *** }"),
            PaymentMethod::HostedPage => f.write_str("HostedPage"),
        }
    }
}
