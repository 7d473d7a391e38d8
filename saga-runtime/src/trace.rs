//! One trace per saga: the context that came with an input goes out with what it caused.

use quadrille_process::telemetry;
use saga_core::Participant;
use tracing::Span;

use crate::engine::batch::{Entry, Origin};

/// The span of one input. The context of a message that is not sampled passes through as it came, without a
/// span: at thousands of messages a second that is what a trace would cost most.
pub(crate) fn process_span<P: Participant>(participant: &'static str, entry: &Entry<P>) -> Span {
    let Some(traceparent) = entry
        .traceparent
        .as_deref()
        .filter(|context| Sampled::of(context) == Sampled::Yes)
    else {
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
        Origin::Timer { name, .. } => {
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
        Some(context) if Sampled::of(context) == Sampled::Yes => {
            telemetry::current_traceparent().or_else(|| Some(context.clone()))
        }
        other => other.clone(),
    }
}

/// What a `traceparent` says about sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampled {
    Yes,
    No,
    /// It is malformed, which is as if there were none.
    Unknown,
}

impl Sampled {
    /// Flags are bits: 01 is "sampled", whatever the others say.
    pub(crate) fn of(traceparent: &str) -> Self {
        let mut parts = traceparent.splitn(4, '-');
        let lengths: [usize; 3] = std::array::from_fn(|_| parts.next().map_or(0, str::len));
        let flags = parts
            .next()
            .and_then(|rest| rest.get(..2))
            .and_then(|flags| u8::from_str_radix(flags, 16).ok());
        match flags {
            Some(flags) if lengths == [2, 32, 16] && flags & 1 == 1 => Self::Yes,
            Some(_) if lengths == [2, 32, 16] => Self::No,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampled_is_one_bit_among_the_flags() {
        let with = |flags: &str| Sampled::of(&format!("00-{}-{}-{flags}", "a".repeat(32), "b".repeat(16)));
        assert_eq!(with("01"), Sampled::Yes);
        assert_eq!(with("03"), Sampled::Yes);
        assert_eq!(with("00"), Sampled::No);
        assert_eq!(with("02"), Sampled::No);
        // A later version may add parts at the end.
        assert_eq!(with("01-more"), Sampled::Yes);
        for malformed in ["", "garbage", "00-1-2-01"] {
            assert_eq!(Sampled::of(malformed), Sampled::Unknown, "{malformed}");
        }
    }
}
