use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};

use super::config;
use super::flight::{Flight, Refused, Sent, Tails};
use super::polled::Polled;
use crate::state::Shared;

/// librdkafka's client, and the thread that polls it.
pub(crate) type Client = Polled<Reports>;

/// One producer instance. The first delivery error is the end of it: what comes after goes through a new
/// one, once every report of this one is in.
pub(crate) struct Producer {
    inner: Option<Arc<Client>>,
    pub(crate) flight: Arc<Flight>,
    /// A topic that takes less needs a producer with smaller batches.
    pub(crate) batch_bytes: usize,
}

/// Where delivery reports and the client's own troubles end up.
pub(crate) struct Reports {
    flight: Arc<Flight>,
    shared: Arc<Shared>,
}

/// How long a broken producer may take to tell what became of its events, before what it does not know
/// counts as not written. It is then published again, with the same positions.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

impl Producer {
    pub(crate) fn new(
        kafka: &[(String, String)],
        smallest_limit: Option<usize>,
        transactional_id: Option<&str>,
        tails: Tails,
        shared: Arc<Shared>,
    ) -> Result<Self, KafkaError> {
        let flight = Arc::new(Flight::after(tails));
        let config = config::producer(kafka, smallest_limit, transactional_id);
        let batch_bytes = config
            .get("batch.size")
            .and_then(|value| value.parse().ok())
            .unwrap_or(1);
        let reports = Reports {
            flight: flight.clone(),
            shared,
        };
        let inner = Client::new(&config, reports)?;
        Ok(Self {
            inner: Some(Arc::new(inner)),
            flight,
            batch_bytes,
        })
    }

    /// A handle for the thread that sends.
    pub(crate) fn sender(&self) -> Sender {
        Sender {
            inner: self.inner.clone(),
            flight: self.flight.clone(),
        }
    }

    /// For what waits for the broker: transactions.
    pub(crate) fn client(&self) -> Option<Arc<Client>> {
        self.inner.clone()
    }

    /// Ends the instance: throws away what was not handed to the broker, and waits for the reports of
    /// what was, within a bound. Returns whether there is one for all of it.
    pub(crate) async fn end(mut self) -> bool {
        self.flight.ground();
        if let Some(inner) = &self.inner {
            inner.purge(PurgeConfig::default().queue());
        }
        let drained = tokio::time::timeout(DRAIN_WITHIN, self.flight.drained());
        let all_told = drained.await.is_ok();
        if !all_told {
            tracing::warn!(
                unreported = self.flight.unreported(),
                "broker did not say what became of these events; it is asked for what it has, and gets the rest again"
            );
            // Dropping it has what is on its way purged as well: it would be tried again, for as long as the client lives on.
            return false;
        }
        self.inner = None;
        true
    }
}

/// Dropped before all of it is known, as when the lease is lost: nothing more must leave.
impl Drop for Producer {
    fn drop(&mut self) {
        self.flight.ground();
        if let Some(inner) = self.inner.take() {
            inner.purge(PurgeConfig::default().queue().inflight());
        }
    }
}

/// Hands records to librdkafka. Never blocks on the broker.
#[derive(Clone)]
pub(crate) struct Sender {
    inner: Option<Arc<Client>>,
    flight: Arc<Flight>,
}

impl Sender {
    /// Takes up events before they are sent. Returns the ordinal of the first.
    pub(crate) fn take_up(&self, events: &[Sent]) -> usize {
        self.flight.take_up(events.iter().copied())
    }

    /// Waits until all of these events, counted from `first`, are acknowledged.
    pub(crate) async fn reported(&self, first: usize, indices: &[usize]) -> Result<(), Refused> {
        self.flight.reported(first, indices).await
    }

    /// An event that was taken up is not sent after all.
    pub(crate) fn discard(&self, ordinal: usize) {
        self.flight.report(ordinal, Err(RDKafkaErrorCode::PurgeQueue));
    }

    /// An event is reported as refused for a reason that is none of its own, and not sent.
    pub(crate) fn refuse(&self, ordinal: usize) {
        self.flight.ground();
        self.flight
            .report(ordinal, Err(RDKafkaErrorCode::BrokerTransportFailure));
    }

    /// Hands over one record. What is not taken is reported as refused, as if the broker had said so.
    pub(crate) fn send(&self, ordinal: usize, record: BaseRecord<'_, str, [u8], usize>) {
        let Some(inner) = self.inner.as_ref().filter(|_| !self.flight.is_grounded()) else {
            return self.discard(ordinal);
        };
        if let Err((error, _)) = inner.send(record) {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            self.flight.ground();
            self.flight.report(ordinal, Err(code));
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error or as a delivery report; librdkafka says it several times.
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of this instance, because of an event that was refused or given up: its report says which.
        if matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::GaplessGuarantee)
        ) {
            tracing::debug!(reason, "producer has ended");
            return;
        }
        self.shared.broker_trouble(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ordinal: usize) {
        let outcome = match result {
            Ok(message) => {
                self.shared.meters.events.increment(1);
                let bytes = message.payload_len() + message.key_len();
                self.shared
                    .meters
                    .bytes
                    .increment(u64::try_from(bytes).unwrap_or(0));
                self.shared.broker_answers();
                Ok(())
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                // Behind the first one that is refused nothing must go out any more.
                self.flight.ground();
                Err(code)
            }
        };
        self.flight.report(ordinal, outcome);
    }
}
