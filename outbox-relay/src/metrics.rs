//! The names of the relay's metrics. Each has the label `source`.

/// Gauge, seconds: age of the oldest event that the broker has not acknowledged; 0 if there is none. The
/// first one to watch.
pub const OLDEST_UNPUBLISHED_SECONDS: &str = "outbox_relay_oldest_unpublished_seconds";
/// Counter: events that the broker has acknowledged.
pub const EVENTS_PUBLISHED: &str = "outbox_relay_events_published_total";
/// Counter, bytes: payloads and keys of those events.
pub const BYTES_PUBLISHED: &str = "outbox_relay_bytes_published_total";
/// Counter: windows of which the last event was acknowledged.
pub const WINDOWS_PUBLISHED: &str = "outbox_relay_windows_published_total";
/// Gauge: windows that the broker was given and has not acknowledged. At its bound the next one has to wait.
pub const WINDOWS_IN_FLIGHT: &str = "outbox_relay_windows_in_flight";
/// Histogram: events in a window.
pub const WINDOW_EVENTS: &str = "outbox_relay_window_events";
/// Histogram, seconds: from opening a window to its last acknowledgement.
pub const PUBLISH_SECONDS: &str = "outbox_relay_publish_seconds";
/// Gauge: 1 while this relay holds the outbox's lease.
pub const LEASE_HELD: &str = "outbox_relay_lease_held";
/// Gauge: the fence number of the lease, microseconds since 1970 at its acquisition; 0 without one.
pub const LEASE_FENCE: &str = "outbox_relay_lease_fence";
/// Counter: events that were set aside because they cannot be sent, or wait behind one.
pub const EVENTS_PARKED: &str = "outbox_relay_events_parked_total";
/// Gauge: keys that are parked, and topics as a whole.
pub const PARKED_KEYS: &str = "outbox_relay_parked_keys";
/// Gauge: events that wait with them, counted up to 100,001.
pub const PARKED_EVENTS: &str = "outbox_relay_parked_events";
/// Gauge with the label `reason`: 1 while an event that cannot be sent holds the outbox up.
pub const STOPPED: &str = "outbox_relay_stopped";
/// Counter: times that a writer rang. Windows without rings come from writers that do not.
pub const RINGS: &str = "outbox_relay_rings_total";
/// Counter: times that the Kafka client told of trouble, or that a producer had to be made anew.
pub const BROKER_ERRORS: &str = "outbox_relay_broker_errors_total";
/// Counter: times that the outbox's database failed or the lease was lost.
pub const OUTBOX_ERRORS: &str = "outbox_relay_outbox_errors_total";
/// Counter: leaves of `saga.outbox` that were emptied.
pub const LEAVES_EMPTIED: &str = "outbox_relay_leaves_emptied_total";
/// Counter: times that a big window took so long over a piece that other outboxes of the process, which waited for their turn,
/// went on without waiting for it.
pub const TURNS_STUCK: &str = "outbox_relay_turns_stuck_total";
