//! The JSON Schema of each event, by its name and version.

use saga_core::Event;
use schemars::{JsonSchema, Schema, schema_for};

use crate::{order, payment, product, stock};

/// `("order.created/1", schema)` of every event, as this build writes it.
pub fn all() -> Vec<(&'static str, Schema)> {
    fn of<E: Event + JsonSchema>() -> (&'static str, Schema) {
        (E::SCHEMA, schema_for!(E))
    }
    vec![
        of::<order::Created>(),
        of::<order::Rejected>(),
        of::<order::Confirmed>(),
        of::<order::Cancelled>(),
        of::<order::Refunded>(),
        of::<stock::Reserved>(),
        of::<stock::Rejected>(),
        of::<stock::Committed>(),
        of::<stock::Released>(),
        of::<payment::Created>(),
        of::<payment::Succeeded>(),
        of::<payment::Failed>(),
        of::<payment::Expired>(),
        of::<payment::Voided>(),
        of::<payment::Refunded>(),
        of::<payment::RefundFailed>(),
        of::<product::Created>(),
        of::<product::PriceChanged>(),
    ]
}
