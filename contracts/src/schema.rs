//! The JSON Schema of each event, by its name and version.

use saga_core::{DecodeError, Event};
use schemars::{JsonSchema, Schema, schema_for};

use crate::{order, payment, product, stock};

/// `("order.created/1", schema)` of every event, as this build writes it.
pub fn all() -> Vec<(&'static str, Schema)> {
    published()
        .into_iter()
        .map(|event| (event.name, event.schema))
        .collect()
}

/// Whether this build reads a version of an event, itself or through an upcaster. `None`: there is no such event.
pub fn reads(name: &str, version: u32) -> Option<bool> {
    published()
        .into_iter()
        .find(|event| event.name.split_once('/').is_some_and(|(known, _)| known == name))
        .map(|event| (event.reads)(version))
}

struct Published {
    name: &'static str,
    schema: Schema,
    reads: fn(u32) -> bool,
}

fn published() -> Vec<Published> {
    fn of<E: Event + JsonSchema>() -> Published {
        Published {
            name: E::SCHEMA,
            schema: schema_for!(E),
            // What it says of the payload is another matter.
            reads: |version| !matches!(E::decode(version, b""), Err(DecodeError::UnknownVersion { .. })),
        }
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
