use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::cause::detours;

/// An event of a saga.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Event {
    pub(crate) id: Uuid,
    #[serde(rename = "type")]
    pub(crate) name: String,
    /// The service.
    pub(crate) source: String,
    /// When its transaction began.
    pub(crate) at: Option<DateTime<Utc>>,
    pub(crate) published_at: Option<DateTime<Utc>>,
    /// The id of the input that caused it.
    pub(crate) causation: Option<String>,
    pub(crate) traceparent: Option<String>,
    /// `ce_sequence`.
    pub(crate) sequence: Option<String>,
    /// The number of the outbox's row in it.
    pub(crate) position: Option<u64>,
    /// `order-events/3@17`.
    pub(crate) place: String,
    pub(crate) data: Option<Value>,
    /// Of a dead letter: why it was parked.
    pub(crate) note: Option<String>,
}

/// An event and what it was caused by.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Node {
    #[serde(flatten)]
    pub(crate) event: Event,
    /// The event at the other end of the cause; none if it came from outside.
    pub(crate) caused_by: Option<Uuid>,
    /// `charge answered`, `timer deadline`, or what came from outside; none if one event caused the other directly.
    pub(crate) via: Option<String>,
}

/// What happened in a saga, in the order in which it happened.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Story {
    pub(crate) saga: String,
    pub(crate) events: Vec<Node>,
}

impl Story {
    /// Finds each event's cause.
    pub(crate) fn of(saga: &str, mut events: Vec<Event>) -> Self {
        events.sort_by_key(|event| (event.at, event.published_at, event.position));
        let known: BTreeMap<Uuid, ()> = events.iter().map(|event| (event.id, ())).collect();
        let origins = detours(saga, known.keys().copied());
        let nodes = events.into_iter().map(|event| {
            let cause = event.causation.as_deref().and_then(|id| id.parse::<Uuid>().ok());
            let (caused_by, via) = match cause {
                Some(id) if known.contains_key(&id) => (Some(id), None),
                Some(id) => match origins.get(&id) {
                    Some(origin) => (Some(origin.event), Some(origin.via.clone())),
                    None => (None, Some(outside(&event.name).to_owned())),
                },
                None => (None, event.note.as_ref().map(|why| format!("parked: {why}"))),
            };
            Node {
                event,
                caused_by,
                via,
            }
        });
        Self {
            saga: saga.to_owned(),
            events: nodes.collect(),
        }
    }

    /// The name of the order's last event: where the saga stands.
    pub(crate) fn standing(&self) -> Option<&str> {
        let mut of_order = self
            .events
            .iter()
            .rev()
            .filter(|node| node.event.source == "order");
        of_order.next().map(|node| node.event.name.as_str())
    }

    /// When it began.
    pub(crate) fn began_at(&self) -> Option<DateTime<Utc>> {
        self.events.iter().filter_map(|node| node.event.at).min()
    }

    /// The trace of its first event.
    pub(crate) fn trace_id(&self) -> Option<&str> {
        let parent = self.events.first()?.event.traceparent.as_deref()?;
        parent.split('-').nth(1)
    }

    /// Events without a cause among the others, in their order.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Node> {
        self.events.iter().filter(|node| node.caused_by.is_none())
    }

    /// Events that this one caused, in their order.
    pub(crate) fn children(&self, id: Uuid) -> Vec<&Node> {
        self.events
            .iter()
            .filter(|node| node.caused_by == Some(id))
            .collect()
    }
}

/// What from outside leads to an event.
fn outside(name: &str) -> &'static str {
    match name {
        "order.created" => "PlaceOrder",
        "order.cancelled" => "CancelOrder",
        name if name.starts_with("payment.") => "webhook",
        _ => "from outside",
    }
}
