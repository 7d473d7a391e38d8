//! An event: what a service tells the others, with its topic, its wire name and its version.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A fact that one participant publishes and others react to. Derive it:
///
/// ```
/// use saga_core::Event;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
/// #[event(topic = "stock-events", name = "stock.reserved", version = 2, key = order_id, upcast(1 => from_v1))]
/// pub struct Reserved {
///     pub order_id: String,
///     pub units: u32,
/// }
///
/// #[derive(Deserialize)]
/// pub struct ReservedV1 {
///     pub order_id: String,
/// }
///
/// fn from_v1(old: ReservedV1) -> Reserved {
///     Reserved { order_id: old.order_id, units: 1 }
/// }
///
/// let event = Reserved::decode(1, br#"{"order_id":"o-1"}"#).unwrap();
/// assert_eq!(event, Reserved { order_id: "o-1".into(), units: 1 });
/// assert_eq!(Reserved::SCHEMA, "stock.reserved/2");
/// ```
///
/// An event that says no is marked `refusal`. Where the field of the key has another name than in the saga's other
/// events, `key = id as order_id` says what it is.
///
/// By hand it is the constants, `key`, and a `decode` that tries the versions it knows.
/// The wire name is stable: a rename is a migration of every consumer.
pub trait Event: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static {
    /// The topic it is published to, without the installation's prefix.
    const TOPIC: &'static str;
    /// CloudEvents `type`, past tense: `stock.reserved`.
    const NAME: &'static str;
    /// Version of the payload that this type writes, from 1.
    const VERSION: u32;
    /// CloudEvents `dataschema`: name and version.
    const SCHEMA: &'static str;
    /// What the Kafka key is: the name of its field. All events of one saga have the same.
    const KEY: &'static str;
    /// Whether it says no: what was done for the saga until now has to be undone. A card that is declined, goods
    /// that are not there.
    const REFUSES: bool = false;

    /// The Kafka key: whatever has the same key stays in order.
    fn key(&self) -> String;

    /// Reads a payload of `version`, through an upcaster if it is an older one.
    ///
    /// # Errors
    /// [`DecodeError`] if the version is unknown or the payload is not of it.
    fn decode(version: u32, data: &[u8]) -> Result<Self, DecodeError>;
}

/// A message that should have been understood and was not: its key is parked.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A version that this build does not know: the producer was upgraded first.
    #[error(
        "{name} has version {found}, this build knows up to {known}; upgrade this consumer, then replay the key"
    )]
    UnknownVersion {
        /// Wire name of the event.
        name: &'static str,
        /// Version that came.
        found: u32,
        /// Newest version that this build reads.
        known: u32,
    },
    /// The payload is not JSON of the expected shape.
    #[error("the payload of {name}/{version} cannot be read")]
    Payload {
        /// Wire name of the event, effect or timer.
        name: &'static str,
        /// Version that it claims to be.
        version: u32,
        /// What the JSON reader said.
        #[source]
        source: serde_json::Error,
    },
}

impl DecodeError {
    /// A payload that the JSON reader refused.
    pub fn payload(name: &'static str, version: u32, source: serde_json::Error) -> Self {
        Self::Payload {
            name,
            version,
            source,
        }
    }
}

/// Reads a payload as JSON; what the derive calls.
///
/// # Errors
/// [`DecodeError::Payload`].
pub fn decode_json<T: DeserializeOwned>(
    name: &'static str,
    version: u32,
    data: &[u8],
) -> Result<T, DecodeError> {
    serde_json::from_slice(data).map_err(|source| DecodeError::payload(name, version, source))
}
