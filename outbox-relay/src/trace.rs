use quadrille_process::telemetry::{current_traceparent, set_parent};

use crate::kafka::record::sampled_context;
use crate::options::SourceName;
use crate::outbox::read::Event;

/// Makes a `send` span for this event, if its writer's trace is sampled, and returns its trace context.
/// Without one, the record carries the writer's.
pub(crate) fn send_span(source: &SourceName, event: &Event<'_>) -> Option<String> {
    let context = sampled_context(event.headers)?;
    let span = tracing::info_span!(
        "send",
        otel.name = format!("send {}", event.topic),
        otel.kind = "producer",
        messaging.system = "kafka",
        messaging.operation.type = "send",
        messaging.destination.name = event.topic,
        messaging.message.id = %event.id,
        messaging.kafka.message.key = event.key,
        outbox.source = %source,
    );
    set_parent(&span, &context, None);
    span.in_scope(current_traceparent)
}
