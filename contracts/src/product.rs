//! The catalogue's events. Whoever needs prices keeps a read model of them.

use saga_core::{Event, Money};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::ProductId;

/// Topic of these events; key: the product's id.
pub const TOPIC: &str = "product-events";

/// A product can be ordered from now on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "product-events", name = "product.created", key = product_id)]
pub struct Created {
    /// Which product.
    pub product_id: ProductId,
    /// What it is called.
    pub name: String,
    /// What one costs.
    pub price: Money,
}

/// Orders that are placed from now on pay this price.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Event)]
#[event(topic = "product-events", name = "product.price_changed", key = product_id)]
pub struct PriceChanged {
    /// Which product.
    pub product_id: ProductId,
    /// What one costs.
    pub price: Money,
}
