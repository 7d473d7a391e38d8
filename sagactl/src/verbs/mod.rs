/// Databases, roles, tables and topics.
pub(crate) mod migrate;

/// The catalogue.
pub(crate) mod product;

/// What is on the shelf.
pub(crate) mod stock;

/// Orders.
pub(crate) mod order;

/// Payments.
pub(crate) mod payment;
