use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use metrics::{Counter, Gauge, Histogram};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::kafka::refusal::Unsendable;
use crate::metrics as names;
use crate::options::SourceName;

/// What a relay is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// It has not reached its outbox yet.
    Starting,
    /// Another relay holds the lease.
    Standby {
        /// Who.
        owner: String,
    },
    /// It holds the lease and publishes what there is.
    Publishing,
    /// It holds the lease, and an event that cannot be sent holds the outbox up: its topic may come to be at any
    /// moment, or too much is parked already.
    Stopped(Stopped),
    /// The outbox cannot be served; it tries again.
    Failing {
        /// What is wrong, with its causes.
        reason: String,
    },
    /// It was told to stop and has.
    Ended,
}

/// An event that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// The event's id.
    pub id: Uuid,
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: String,
    /// Its type.
    pub r#type: String,
    /// Why it cannot be sent.
    pub why: Unsendable,
}

/// How a relay is, for a health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It publishes, or stands by.
    Up,
    /// Nothing is lost, but somebody should know.
    Down(String),
}

/// What the parts of one relay tell each other and the outside.
pub(crate) struct Shared {
    pub(crate) source: SourceName,
    pub(crate) owner: String,
    pub(crate) meters: Meters,
    /// Somebody has committed events.
    pub(crate) doorbell: Notify,
    phase: watch::Sender<Phase>,
    broker_in_trouble: AtomicBool,
    broker: Mutex<BrokerTrouble>,
    /// Keys and topics that are parked.
    parked: AtomicUsize,
    /// Microseconds since 1970; `NOTHING` if everything was acknowledged.
    oldest: AtomicI64,
    /// Windows that were opened by this relay.
    opened: AtomicU64,
}

const NOTHING: i64 = i64::MAX;

#[derive(Debug, Default)]
struct BrokerTrouble {
    reason: String,
    said_at: Option<Instant>,
}

pub(crate) struct Meters {
    pub(crate) events: Counter,
    pub(crate) bytes: Counter,
    pub(crate) windows: Counter,
    pub(crate) window_events: Histogram,
    windows_in_flight: Gauge,
    pub(crate) publish_seconds: Histogram,
    pub(crate) rings: Counter,
    pub(crate) broker_errors: Counter,
    pub(crate) outbox_errors: Counter,
    pub(crate) leaves_emptied: Counter,
    pub(crate) turns_stuck: Counter,
    pub(crate) events_parked: Counter,
    parked: Gauge,
    parked_events: Gauge,
    oldest_seconds: Gauge,
    lease_held: Gauge,
    lease_fence: Gauge,
}

impl Meters {
    fn new(source: &SourceName) -> Self {
        let source = source.to_string();
        Self {
            events: metrics::counter!(names::EVENTS_PUBLISHED, "source" => source.clone()),
            bytes: metrics::counter!(names::BYTES_PUBLISHED, "source" => source.clone()),
            windows: metrics::counter!(names::WINDOWS_PUBLISHED, "source" => source.clone()),
            windows_in_flight: metrics::gauge!(names::WINDOWS_IN_FLIGHT, "source" => source.clone()),
            window_events: metrics::histogram!(names::WINDOW_EVENTS, "source" => source.clone()),
            publish_seconds: metrics::histogram!(names::PUBLISH_SECONDS, "source" => source.clone()),
            rings: metrics::counter!(names::RINGS, "source" => source.clone()),
            broker_errors: metrics::counter!(names::BROKER_ERRORS, "source" => source.clone()),
            outbox_errors: metrics::counter!(names::OUTBOX_ERRORS, "source" => source.clone()),
            leaves_emptied: metrics::counter!(names::LEAVES_EMPTIED, "source" => source.clone()),
            turns_stuck: metrics::counter!(names::TURNS_STUCK, "source" => source.clone()),
            events_parked: metrics::counter!(names::EVENTS_PARKED, "source" => source.clone()),
            parked: metrics::gauge!(names::PARKED_KEYS, "source" => source.clone()),
            parked_events: metrics::gauge!(names::PARKED_EVENTS, "source" => source.clone()),
            oldest_seconds: metrics::gauge!(names::OLDEST_UNPUBLISHED_SECONDS, "source" => source.clone()),
            lease_held: metrics::gauge!(names::LEASE_HELD, "source" => source.clone()),
            lease_fence: metrics::gauge!(names::LEASE_FENCE, "source" => source),
        }
    }
}

impl Shared {
    pub(crate) fn new(source: SourceName, owner: String) -> Self {
        Self {
            owner,
            meters: Meters::new(&source),
            source,
            doorbell: Notify::new(),
            phase: watch::Sender::new(Phase::Starting),
            broker_in_trouble: AtomicBool::new(false),
            broker: Mutex::default(),
            parked: AtomicUsize::new(0),
            oldest: AtomicI64::new(NOTHING),
            opened: AtomicU64::new(0),
        }
    }

    /// There is something in the outbox's leaves.
    pub(crate) fn window_opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn windows_opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        for label in Unsendable::LABELS {
            let stopped = matches!(&phase, Phase::Stopped(stopped) if stopped.why.label() == label);
            metrics::gauge!(names::STOPPED, "source" => self.source.to_string(), "reason" => label)
                .set(if stopped { 1.0 } else { 0.0 });
        }
        self.phase.send_if_modified(|known| {
            let changed = *known != phase;
            *known = phase;
            changed
        });
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Stopped(_))
    }

    /// The fence that we hold, or none.
    pub(crate) fn set_lease(&self, fence: Option<i64>) {
        self.meters
            .lease_held
            .set(if fence.is_some() { 1.0 } else { 0.0 });
        #[allow(
            clippy::cast_precision_loss,
            reason = "microseconds since 1970 fit into 53 bits"
        )]
        self.meters.lease_fence.set(fence.unwrap_or(0) as f64);
    }

    /// Counts a window whose last event is acknowledged. What held the outbox up does not any more.
    pub(crate) fn window_published(&self, events: u64, opened: Instant) {
        self.meters.windows.increment(1);
        #[allow(clippy::cast_precision_loss, reason = "a window has fewer than 2^53 events")]
        self.meters.window_events.record(events as f64);
        self.meters.publish_seconds.record(opened.elapsed().as_secs_f64());
        self.flow_again();
    }

    pub(crate) fn flow_again(&self) {
        if self.is_stopped() {
            tracing::info!(source = %self.source, "outbox flows again");
            self.set_phase(Phase::Publishing);
        }
    }

    /// How many windows the broker has not acknowledged.
    #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
    pub(crate) fn set_windows_in_flight(&self, windows: usize) {
        self.meters.windows_in_flight.set(windows as f64);
    }

    /// How many keys and topics are parked.
    #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
    pub(crate) fn set_parked(&self, subjects: usize) {
        self.parked.store(subjects, Ordering::Relaxed);
        self.meters.parked.set(subjects as f64);
        if subjects == 0 {
            self.meters.parked_events.set(0.0);
        }
    }

    pub(crate) fn is_anything_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed) > 0
    }

    /// How many events wait with them. Nothing does any more if all was freed while somebody counted.
    #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
    pub(crate) fn set_parked_events(&self, events: i64) {
        let events = if self.is_anything_parked() { events } else { 0 };
        self.meters.parked_events.set(events as f64);
    }

    /// When the oldest event that was not acknowledged came to be.
    pub(crate) fn set_oldest(&self, created_at: Option<DateTime<Utc>>) {
        let micros = created_at.map_or(NOTHING, |at| at.timestamp_micros());
        self.oldest.store(micros, Ordering::Relaxed);
        self.update_age();
    }

    /// How long it has been waiting. Grows by itself, so it is written regularly.
    pub(crate) fn update_age(&self) -> Duration {
        let age = match self.oldest.load(Ordering::Relaxed) {
            NOTHING => Duration::ZERO,
            // A clock that is behind the database's makes no event younger than new.
            oldest => Duration::from_micros(
                u64::try_from(Utc::now().timestamp_micros().saturating_sub(oldest)).unwrap_or(0),
            ),
        };
        self.meters.oldest_seconds.set(age.as_secs_f64());
        age
    }

    /// The Kafka client told of an error. It goes on trying.
    pub(crate) fn broker_trouble(&self, error: &KafkaError, reason: &str) {
        const SAY_EVERY: Duration = Duration::from_secs(30);
        self.meters.broker_errors.increment(1);
        self.broker_in_trouble.store(true, Ordering::Relaxed);
        let mut trouble = self.trouble();
        if trouble.reason.is_empty() || !follows(error) {
            trouble.reason = if reason.is_empty() {
                error.to_string()
            } else {
                reason.to_owned()
            };
        }
        if trouble.said_at.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            trouble.said_at = Some(Instant::now());
            tracing::warn!(source = %self.source, reason = trouble.reason, "broker is in trouble; events wait");
        }
    }

    /// The broker acknowledged something. Called for each event.
    pub(crate) fn broker_answers(&self) {
        if self.broker_in_trouble.load(Ordering::Relaxed)
            && self.broker_in_trouble.swap(false, Ordering::Relaxed)
        {
            *self.trouble() = BrokerTrouble::default();
            tracing::info!(source = %self.source, "broker answers again");
        }
    }

    pub(crate) fn health(&self) -> Health {
        match &*self.phase.borrow() {
            Phase::Starting => Health::Down("has not reached its outbox yet".to_owned()),
            Phase::Failing { reason } => Health::Down(reason.clone()),
            Phase::Ended => Health::Down("was told to stop".to_owned()),
            Phase::Stopped(stopped) => Health::Down(format!(
                "event {} of topic {} with key {} cannot be sent: {}; {}",
                stopped.id,
                stopped.topic,
                stopped.key,
                stopped.why,
                stopped.why.remedy()
            )),
            // While nothing waits, nobody knows whether the broker is back, and nobody minds.
            Phase::Publishing
                if self.broker_in_trouble.load(Ordering::Relaxed)
                    && self.oldest.load(Ordering::Relaxed) != NOTHING =>
            {
                Health::Down(format!(
                    "broker is in trouble; events wait: {}",
                    self.trouble().reason
                ))
            }
            Phase::Publishing if self.parked.load(Ordering::Relaxed) > 0 => Health::Down(format!(
                "{} key(s) or topic(s) are parked, everything else flows; see 'sagactl outbox parked'",
                self.parked.load(Ordering::Relaxed)
            )),
            Phase::Publishing | Phase::Standby { .. } => Health::Up,
        }
    }

    /// What the Kafka client says is wrong, if anything.
    pub(crate) fn broker_reason(&self) -> Option<String> {
        let reason = self.trouble().reason.clone();
        (!reason.is_empty()).then_some(reason)
    }

    fn trouble(&self) -> MutexGuard<'_, BrokerTrouble> {
        self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it only says that nobody answers. Why not was told before, if anybody knows: a login that is refused, a
/// certificate that is not trusted.
fn follows(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MetadataFetch(_))
        || matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::MessageTimedOut)
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_nobody_answers_does_not_hide_why() {
        use RDKafkaErrorCode::{AllBrokersDown, Authentication, BrokerTransportFailure, MessageTimedOut};
        let shared = Shared::new("it".parse().unwrap(), "a".to_owned());
        shared.set_phase(Phase::Publishing);
        shared.set_oldest(Some(Utc::now()));
        let says = |words: &str| matches!(shared.health(), Health::Down(reason) if reason.contains(words));

        shared.broker_trouble(&KafkaError::Global(Authentication), "login refused");
        shared.broker_trouble(&KafkaError::Global(AllBrokersDown), "all are down");
        shared.broker_trouble(&KafkaError::MetadataFetch(BrokerTransportFailure), "no metadata");
        shared.broker_trouble(
            &KafkaError::MessageProduction(MessageTimedOut),
            "no answer in time",
        );
        assert!(says("login refused"));
        shared.broker_trouble(&KafkaError::Global(BrokerTransportFailure), "connection refused");
        assert!(says("connection refused"));

        shared.broker_answers();
        shared.broker_trouble(&KafkaError::Global(AllBrokersDown), "all are down");
        assert!(says("all are down"));
    }
}
