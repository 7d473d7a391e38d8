//! Inventory's events: an order holds all of its items or none.

use saga_core::Event;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{OrderId, ProductId};

/// Topic of these events; key: the order's id.
pub const TOPIC: &str = "stock-events";

/// So many of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Quantity {
    /// Which product.
    pub product_id: ProductId,
    /// How many.
    pub quantity: u32,
}

/// Why an order could not be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Shortage {
    /// Which product.
    pub product_id: ProductId,
    /// How many were wanted.
    pub requested: u32,
    /// How many are on the shelf.
    pub available: u64,
}

/// Every item of the order is held for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "stock-events", name = "stock.reserved", key = order_id)]
pub struct Reserved {
    /// The saga.
    pub order_id: OrderId,
    /// What is held.
    pub lines: Vec<Quantity>,
}

/// Nothing is held: at least one item is short.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "stock-events", name = "stock.rejected", key = order_id, refusal)]
pub struct Rejected {
    /// The saga.
    pub order_id: OrderId,
    /// What is missing.
    pub shortages: Vec<Shortage>,
}

/// What was held has left the books: it is sold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "stock-events", name = "stock.committed", key = order_id)]
pub struct Committed {
    /// The saga.
    pub order_id: OrderId,
    /// What was sold.
    pub lines: Vec<Quantity>,
}

/// What was held is back on the shelf.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "stock-events", name = "stock.released", key = order_id)]
pub struct Released {
    /// The saga.
    pub order_id: OrderId,
    /// What was put back.
    pub lines: Vec<Quantity>,
}
