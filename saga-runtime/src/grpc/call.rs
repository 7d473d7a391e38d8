use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tower::Layer;
use tracing::{Instrument, Span, field};

use super::{metadata, status};
use crate::metrics as names;
use crate::trace::Sampled;

/// Services whose calls are neither counted nor refused: whoever asks for the health of an overloaded
/// process should hear that it lives.
const INFRASTRUCTURE: &str = "grpc.";

/// Wraps all of a server's routes in [`Calls`].
#[derive(Clone, Debug)]
pub(super) struct CallLayer {
    /// One permit per call under way, over all connections.
    pub(super) free: Arc<Semaphore>,
    /// Upper bound of every call's deadline.
    pub(super) timeout: Duration,
    /// Whether anybody collects spans.
    pub(super) traces: bool,
}

/// Every call goes through here. What streams its answer is bounded only until the stream begins.
#[derive(Clone, Debug)]
pub(super) struct Calls<S> {
    routes: S,
    layer: CallLayer,
}

impl<S> Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, routes: S) -> Calls<S> {
        Calls {
            routes,
            layer: self.clone(),
        }
    }
}

impl<S> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.routes.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = request.uri().path().trim_start_matches('/').to_owned();
        if method.starts_with(INFRASTRUCTURE) {
            return Box::pin(self.routes.call(request));
        }
        let Ok(permit) = Arc::clone(&self.layer.free).try_acquire_owned() else {
            metrics::counter!(names::GRPC_SHED).increment(1);
            return Box::pin(std::future::ready(Ok(status::overloaded(
                "too many calls are under way",
            )
            .into_http())));
        };
        let span = if self.layer.traces {
            server_span(&method, request.headers())
        } else {
            Span::none()
        };
        // tonic has a timer of its own for this, but it answers CANCELLED. Ours begins earlier, so it wins.
        let limit = self.layer.timeout;
        let limit = metadata::timeout_in(request.headers()).map_or(limit, |asked| asked.min(limit));
        let deadline = tokio::time::sleep(limit);
        let answer = AssertUnwindSafe(self.routes.call(request)).catch_unwind();
        let mut seen = Seen::new(method, span.clone());
        let call = async move {
            let _permit = permit;
            let response = tokio::select! {
                biased;
                answer = answer => answer.unwrap_or_else(|_| {
                    // The panic hook has told what happened and where.
                    Ok(status::failure(Code::Internal, "INTERNAL", "the service made a mistake").into_http())
                }),
                () = deadline => Ok(Status::deadline_exceeded("the deadline has passed").into_http()),
            };
            if let Ok(response) = &response {
                seen.answered(code_of(response.headers()));
            }
            response
        };
        Box::pin(call.instrument(span))
    }
}

/// The code of an answer that is only an error. Of a stream it is known too late for us.
fn code_of(headers: &HeaderMap) -> Code {
    headers
        .get(Status::GRPC_STATUS)
        .map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

/// The span of one call: part of the caller's trace if there is one. A caller that does not sample its own
/// gets none.
fn server_span(method: &str, headers: &HeaderMap) -> Span {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let traceparent = text("traceparent");
    let sampled = traceparent.map_or(Sampled::Unknown, Sampled::of);
    if sampled == Sampled::No {
        return Span::none();
    }
    let (service, name) = method.split_once('/').unwrap_or((method, ""));
    let span = tracing::info_span!(
        "call",
        otel.name = method,
        otel.kind = "server",
        otel.status_code = field::Empty,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = name,
        rpc.grpc.status_code = field::Empty,
    );
    if let Some(traceparent) = traceparent {
        quadrille_process::telemetry::set_parent(&span, traceparent, text("tracestate"));
    }
    span
}

/// Counts a call when it is over, however it is: a caller that goes away drops the future.
struct Seen {
    method: String,
    began: Instant,
    code: Code,
    span: Span,
}

impl Seen {
    fn new(method: String, span: Span) -> Self {
        Self {
            method,
            began: Instant::now(),
            code: Code::Cancelled,
            span,
        }
    }

    /// A method rather than an assignment, so that the future owns the whole of it and not only the code.
    fn answered(&mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        if !self.span.is_none() {
            self.span.record("rpc.grpc.status_code", self.code as i32);
            if is_our_fault(self.code) {
                self.span.record("otel.status_code", "ERROR");
            }
        }
        // A caller could make up names without end.
        let method = match self.code {
            Code::Unimplemented => "unknown".to_owned(),
            _ => std::mem::take(&mut self.method),
        };
        metrics::histogram!(names::GRPC_SECONDS, "method" => method, "code" => code_name(self.code))
            .record(self.began.elapsed());
    }
}

/// The codes that OpenTelemetry counts as errors of a server.
fn is_our_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}
