use std::sync::Arc;

use quadrille_process::fault::Injected;
use rdkafka::error::KafkaError;

use crate::fault::{self, Passing, Point};
use crate::kafka::flight::{Flight, Refused};
use crate::outbox::error::OutboxError;
use crate::sending::{Cut, Rejected};
use crate::state::Shared;

/// Why a window is not published to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Halt {
    /// The broker refused an event.
    #[error("the broker refused the event at {}: {}", .0.refused.position, .0.refused.code)]
    Refused(Rejected),
    /// An event need not be tried: we know that it cannot be sent.
    #[error("the event at {} cannot be sent: {}", .0.position, .0.why)]
    Unsendable(Cut),
    /// The Kafka client does not even get that far.
    #[error("{doing}")]
    Client {
        doing: &'static str,
        #[source]
        source: KafkaError,
    },
    /// The outbox's database failed. Ends the tenure.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// A test wants it so.
    #[error(transparent)]
    Injected(#[from] Injected),
}

impl Halt {
    /// Has health and the log tell of a broker that does not answer.
    pub(crate) fn tell(&self, shared: &Shared) {
        if let Self::Client { doing, source } = self {
            shared.broker_trouble(source, &format!("{doing}: {source}"));
        }
    }
}

impl From<Refused> for Halt {
    fn from(refused: Refused) -> Self {
        Self::Refused(Rejected {
            refused,
            alone: false,
        })
    }
}

/// How much of a window the producer was given.
#[derive(Debug)]
pub(crate) enum Extent {
    /// All of it.
    Whole(HandedOver),
    /// The relay was told to stop in the middle of it. What was handed over is acknowledged.
    Part,
}

/// A window that the producer has as a whole.
#[derive(Debug)]
pub(crate) struct HandedOver {
    pub(crate) events: u64,
    /// The highest position among them.
    pub(crate) highest: i64,
    /// The producer's events up to the last of them. `None`: there was nothing to send.
    pub(super) last: Option<(Arc<Flight>, usize)>,
    /// For points that it passes later on.
    pub(super) passing: Passing,
}

impl HandedOver {
    /// Whether the broker has acknowledged all of it, and all that went before.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.last
            .as_ref()
            .is_none_or(|(flight, end)| flight.prefix() >= *end)
    }

    /// Waits until it has.
    ///
    /// # Errors
    /// As soon as the broker refuses an event, also one behind it.
    pub(crate) async fn acknowledged(&self) -> Result<(), Halt> {
        if let Some((flight, end)) = &self.last {
            flight.reached(*end).await?;
        }
        Ok(())
    }

    /// A point that its events pass.
    pub(crate) async fn passes(&self, point: Point, shared: &Shared) -> Result<(), Injected> {
        fault::passing(point, (&shared.owner, shared.source.as_str()), &self.passing).await
    }
}
