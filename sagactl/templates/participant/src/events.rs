use std::fmt;
use std::str::FromStr;

use saga_core::Event;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A saga. Everything that is told about it has this as its Kafka key, and stays in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SagaId(pub Uuid);

/// Somebody wants units. TODO: this and the next are what *others* tell: put their events here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "newcomer-requests", name = "newcomer.requested", key = saga_id)]
pub struct Requested {
    /// The saga.
    pub saga_id: SagaId,
    /// How many.
    pub units: u32,
}

/// Whoever asked does not want them any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "newcomer-requests", name = "newcomer.cancelled", key = saga_id)]
pub struct Cancelled {
    /// The saga.
    pub saga_id: SagaId,
}

/// The units are reserved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "newcomer-events", name = "newcomer.reserved", key = saga_id)]
pub struct Reserved {
    /// The saga.
    pub saga_id: SagaId,
    /// How many.
    pub units: u32,
}

/// None is. It says no: what others did for the saga has to be undone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "newcomer-events", name = "newcomer.refused", key = saga_id, refusal)]
pub struct Refused {
    /// The saga.
    pub saga_id: SagaId,
}

/// What was reserved is free again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Event)]
#[event(topic = "newcomer-events", name = "newcomer.released", key = saga_id)]
pub struct Released {
    /// The saga.
    pub saga_id: SagaId,
    /// How many.
    pub units: u32,
}

impl fmt::Display for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SagaId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}
