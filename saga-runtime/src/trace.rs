//! One trace per saga: the context that came with an input goes out with what it caused.

use quadrille_process::telemetry;
use saga_core::Participant;
use tracing::Span;

use crate::engine::batch::{Entry, Origin};

/// The span of one input. The context of a message that is not sampled passes through as it came, without a
/// span: at thousands of messages a second that is what a trace would cost most.
pub(crate) fn process_span<P: Participant>(participant: &'static str, entry: &Entry<P>) -> Span {
    let Some(traceparent) = entry.traceparent.as_deref().filter(|context| is_sampled(context)) else {
        return Span::none();
    };
    let saga = entry.quarantine_key();
    let span = match &entry.origin {
        Origin::Record { record, .. } | Origin::Parked { record, .. } => tracing::info_span!(
            "process",
            otel.name = format!("process {}", record.topic),
            otel.kind = "consumer",
            messaging.system = "kafka",
            messaging.operation.name = "process",
            messaging.operation.type = "process",
            messaging.destination.name = record.topic,
            messaging.destination.partition.id = record.partition,
            messaging.kafka.offset = record.offset,
            messaging.consumer.group.name = participant,
            messaging.message.id = %entry.id,
            messaging.message.conversation_id = saga,
        ),
        Origin::Command(idempotency) => tracing::info_span!(
            "decide",
            otel.name = format!("decide {}", idempotency.method),
            participant,
            saga,
        ),
        Origin::Timer { name } => {
            tracing::info_span!("timer", otel.name = format!("timer {name}"), participant, saga)
        }
        Origin::Broken { .. } => return Span::none(),
        Origin::Outcome { effect, .. } => tracing::info_span!("outcome", participant, saga, %effect),
    };
    telemetry::set_parent(&span, traceparent, None);
    span
}

/// The context that goes out: of the current span if there is one, else the one that came.
pub(crate) fn outgoing<P: Participant>(entry: &Entry<P>) -> Option<String> {
    match &entry.traceparent {
        Some(context) if is_sampled(context) => {
            telemetry::current_traceparent().or_else(|| Some(context.clone()))
        }
        other => other.clone(),
    }
}

/// Flags are bits: 01 is "sampled", whatever the others say.
fn is_sampled(traceparent: &str) -> bool {
    traceparent
        .rsplit('-')
        .next()
        .and_then(|flags| u8::from_str_radix(flags, 16).ok())
        .is_some_and(|flags| flags & 1 == 1)
}
