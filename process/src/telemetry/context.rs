use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// A position in a trace, as it travels: the two headers of W3C Trace Context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// `00-<trace>-<span>-<flags>`.
    pub traceparent: String,
    /// What vendors add; absent rather than empty.
    pub tracestate: Option<String>,
}

/// Where the current span is in its trace, to be sent along; `None` outside of any trace.
pub fn current_trace() -> Option<TraceContext> {
    let context = Span::current().context();
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut headers = Headers::default();
    TraceContextPropagator::new().inject_context(&context, &mut headers);
    Some(TraceContext {
        traceparent: headers.traceparent?,
        tracestate: headers.tracestate.filter(|state| !state.is_empty()),
    })
}

/// The `traceparent` of the current span; `None` outside of any trace.
pub fn current_traceparent() -> Option<String> {
    current_trace().map(|trace| trace.traceparent)
}

/// Makes `span` a child of the span that a caller or an event came from. An invalid context is ignored.
///
/// Call it before the span is entered: a span that has begun keeps the parent it has.
pub fn set_parent(span: &Span, traceparent: &str, tracestate: Option<&str>) {
    if let Some(context) = remote(traceparent, tracestate)
        && let Err(error) = span.set_parent(context)
    {
        // No traces are made, or the span is filtered out: nothing to be a child of anything.
        tracing::trace!(%error, "parent not set");
    }
}

/// Notes on `span` that it has to do with another one, e.g. a batch with each of its messages. An invalid
/// context is ignored.
pub fn link(span: &Span, traceparent: &str) {
    if let Some(context) = remote(traceparent, None) {
        span.add_link(context.span().span_context().clone());
    }
}

fn remote(traceparent: &str, tracestate: Option<&str>) -> Option<Context> {
    let headers = Headers {
        traceparent: Some(traceparent.to_owned()),
        tracestate: tracestate.filter(|state| !state.is_empty()).map(str::to_owned),
    };
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    context.span().span_context().is_valid().then_some(context)
}

#[derive(Default)]
struct Headers {
    traceparent: Option<String>,
    tracestate: Option<String>,
}

impl Extractor for Headers {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => self.traceparent.as_deref(),
            TRACESTATE => self.tracestate.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

impl Injector for Headers {
    fn set(&mut self, key: &str, value: String) {
        match key {
            TRACEPARENT => self.traceparent = Some(value),
            TRACESTATE => self.tracestate = Some(value),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn traced<T>(test: impl FnOnce() -> T) -> T {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), test)
    }

    #[test]
    fn a_caller_is_continued() {
        let inside = traced(|| {
            let span = tracing::info_span!("work");
            set_parent(
                &span,
                &format!("00-{TRACE}-00f067aa0ba902b7-01"),
                Some("vendor=x"),
            );
            span.in_scope(current_trace)
        })
        .unwrap();
        assert!(
            inside.traceparent.starts_with(&format!("00-{TRACE}-")),
            "{inside:?}"
        );
        assert!(inside.traceparent.ends_with("-01"), "{inside:?}");
        assert!(!inside.traceparent.contains("00f067aa0ba902b7"), "{inside:?}");
        assert_eq!(inside.tracestate.as_deref(), Some("vendor=x"));
    }

    #[test]
    fn an_invalid_context_is_ignored() {
        let wrong = [
            "",
            "garbage",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ];
        for traceparent in wrong {
            let inside = traced(|| {
                let span = tracing::info_span!("work");
                set_parent(&span, traceparent, Some("vendor=x"));
                link(&span, traceparent);
                span.in_scope(current_trace)
            })
            .unwrap();
            assert!(
                !inside.traceparent.contains(TRACE),
                "{traceparent} gave {inside:?}"
            );
            assert_eq!(inside.tracestate, None);
        }
    }

    #[test]
    fn outside_of_a_trace_there_is_nothing_to_send() {
        assert_eq!(traced(current_traceparent), None);
        assert_eq!(current_traceparent(), None);
        // Without a layer nothing of it may fail either.
        set_parent(&Span::current(), &format!("00-{TRACE}-00f067aa0ba902b7-01"), None);
    }
}
