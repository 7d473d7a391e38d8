//! Names of the engine's metrics. Labels are of low cardinality: participant, topic, kind.

/// Records read but not yet applied, per topic and partition.
pub const CONSUMER_LAG: &str = "saga_consumer_lag_records";
/// Keys that are parked now.
pub const PARKED_KEYS: &str = "saga_parked_keys";
/// Keys that were parked since the process started.
pub const KEYS_PARKED: &str = "saga_keys_parked_total";
/// Effects whose last call failed and that will be called again.
pub const EFFECTS_IN_RETRY: &str = "saga_effects_in_retry";
/// Effects that were tried as often as their policy allows; an operator has to look.
pub const EFFECTS_EXHAUSTED: &str = "saga_effects_exhausted";
/// Effects that wait for their first call or their answer.
pub const EFFECTS_OUTSTANDING: &str = "saga_effects_outstanding";
/// Calls of effects, by outcome.
pub const EFFECT_CALLS: &str = "saga_effect_calls_total";
/// How long a call of an effect took.
pub const EFFECT_SECONDS: &str = "saga_effect_call_seconds";
/// Timers that are set.
pub const TIMERS_SET: &str = "saga_timers_set";
/// How late the most overdue timer is.
pub const TIMER_OVERDUE_SECONDS: &str = "saga_timer_overdue_seconds";
/// Sagas of which the participant heard for the first time.
pub const SAGAS_BEGAN: &str = "saga_began_total";
/// Sagas that need no more attention.
pub const SAGAS_ENDED: &str = "saga_ended_total";
/// Sagas that have begun and not ended, where the service counts them.
pub const SAGAS_IN_FLIGHT: &str = "saga_in_flight";
/// How long a saga took from its first input to its end, where the service knows.
pub const SAGA_SECONDS: &str = "saga_duration_seconds";
/// Events written into the outbox.
pub const EVENTS_WRITTEN: &str = "saga_events_written_total";
/// Entries in a transaction of the engine.
pub const BATCH_ENTRIES: &str = "saga_batch_entries";
/// How long a transaction of the engine took.
pub const BATCH_SECONDS: &str = "saga_batch_seconds";
/// Transactions that were tried again.
pub const BATCH_RETRIES: &str = "saga_batch_retries_total";
/// Records that were recognised as applied before.
pub const DUPLICATES: &str = "saga_duplicates_total";
/// Records of a type that the participant does not read.
pub const IGNORED: &str = "saga_ignored_total";
/// Partitions that are not read for now, since too many of their records wait for a worker.
pub const PARTITIONS_HELD: &str = "saga_partitions_held";
/// Partitions that were stopped because records are missing.
pub const PARTITIONS_STOPPED: &str = "saga_partitions_stopped";
/// How often a process was thrown out of its group, as if another one of its name had come, and joined again.
pub const CONSUMER_REJOINS: &str = "saga_consumer_rejoins_total";
/// Commands, by how they ended.
pub const COMMANDS: &str = "saga_commands_total";
/// How long a gRPC call took, by method and code.
pub const GRPC_SECONDS: &str = "saga_grpc_call_seconds";
/// gRPC calls that were refused because too many were under way.
pub const GRPC_SHED: &str = "saga_grpc_calls_shed_total";
/// Whether something is paused: 1 per participant and kind.
pub const PAUSED: &str = "saga_paused";
/// Rows that were pruned because their retention is over.
pub const PRUNED: &str = "saga_pruned_total";

/// Counts a partition that is read no more, because records are missing.
pub(crate) fn partition_stopped(participant: &'static str, consumer: &str) {
    metrics::gauge!(PARTITIONS_STOPPED, "participant" => participant, "consumer" => consumer.to_owned())
        .increment(1);
}
