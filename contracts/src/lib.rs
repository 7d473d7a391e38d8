//! The events that the services of the shop tell each other: one module per topic, owned by its publisher.
//!
//! An event carries the state that its consumers need, so that nobody has to ask another service. The
//! committed JSON Schemas (`contracts/schemas`) are what other languages read and what a change is checked
//! against: a consumer ignores what it does not know; a field is never removed or retyped within a version.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

/// Ids that cross a service's border.
pub mod ids;
/// `order-events`: the saga's own story.
pub mod order;
/// `payment-events`: where the money is.
pub mod payment;
/// `product-events`: the catalogue.
pub mod product;
/// The JSON Schema of each event.
pub mod schema;
/// `stock-events`: what inventory holds.
pub mod stock;

pub use ids::{OrderId, PaymentId, ProductId};

use saga_core::Topic;

/// Every topic of the shop. The first three share their key (the order's id) and their number of partitions.
pub const TOPICS: &[Topic] = &[
    Topic::new(order::TOPIC),
    Topic::new(stock::TOPIC),
    Topic::new(payment::TOPIC),
    Topic::new(product::TOPIC),
];

/// Events that no participant hears, on purpose, and who reads them.
pub const FOR_OBSERVERS: &[(&str, &str)] = &[
    (
        "stock.committed",
        "whoever packs the goods; the order itself is over",
    ),
    (
        "stock.released",
        "whoever watches the stock; the next order finds the goods on the shelf",
    ),
    (
        "order.refunded",
        "the customer, whose money is back; nothing is left to do",
    ),
];
