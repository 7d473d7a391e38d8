use std::error::Error as _;
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code as Grpc, Request, Status};
use tonic_types::StatusExt as _;

use crate::failure::{Code, Failure};
use crate::settings::Settings;

/// How long a connection may take, and how long an answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How often a connection that is in use is asked whether it is alive, and how long it may take to say so.
const ALIVE_EVERY: Duration = Duration::from_secs(20);
const ALIVE_WITHIN: Duration = Duration::from_secs(10);

/// A connection to a service. `key` is `ORDER_GRPC` and so on.
pub(crate) async fn connect(settings: &Settings, key: &str) -> Result<Channel, Failure> {
    let address = settings.required(key, "http://host:port of the service")?;
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|_| Failure::usage(format!("{key} is {address}; expected http://host:port")))?;
    endpoint
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        // A stream on which nothing happens is otherwise silent for ever once whoever is between us has forgotten it.
        .http2_keep_alive_interval(ALIVE_EVERY)
        .keep_alive_timeout(ALIVE_WITHIN)
        .connect()
        .await
        .map_err(|error| {
            let cause = Failure::caused(Code::Unavailable, &error);
            Failure::new(
                Code::Unavailable,
                format!("no answer from {address} ({key}): {cause}"),
            )
        })
}

/// A trace of our own, which the call begins and the saga goes on with.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// 32 hexadecimal digits: what to look for in Jaeger.
    pub(crate) id: String,
    parent: String,
}

impl Trace {
    /// A new one, sampled.
    pub(crate) fn begin() -> Self {
        let (trace, span): (u128, u64) = (rand::random(), rand::random());
        // All zeros means "none".
        let id = format!("{:032x}", trace.max(1));
        Self {
            parent: format!("00-{id}-{:016x}-01", span.max(1)),
            id,
        }
    }
}

/// A question: it may be repeated, and it has a deadline.
pub(crate) fn question<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_WITHIN);
    request
}

/// A write, with its idempotency key and trace.
pub(crate) fn write<T>(message: T, key: &str, trace: &Trace) -> Result<Request<T>, Failure> {
    let mut request = question(message);
    let key = MetadataValue::try_from(key)
        .map_err(|_| Failure::usage("an idempotency key is 1 to 128 visible ASCII characters"))?;
    request.metadata_mut().insert("idempotency-key", key);
    trace_on(&mut request, trace);
    Ok(request)
}

/// Sends a trace along.
pub(crate) fn trace_on<T>(request: &mut Request<T>, trace: &Trace) {
    let parent = MetadataValue::try_from(&trace.parent).expect("hexadecimal digits and dashes are ASCII");
    request.metadata_mut().insert("traceparent", parent);
}

/// The key that was given, or a new one.
pub(crate) fn idempotency_key(given: Option<String>) -> String {
    given.unwrap_or_else(|| uuid::Uuid::new_v4().to_string())
}

/// What a service said no with, for people, and as an exit code.
pub(crate) fn refused(status: Status) -> Failure {
    let code = match status.code() {
        Grpc::NotFound => Code::NotFound,
        Grpc::InvalidArgument | Grpc::OutOfRange | Grpc::Unimplemented => Code::Usage,
        Grpc::FailedPrecondition | Grpc::AlreadyExists | Grpc::Aborted | Grpc::PermissionDenied => Code::No,
        Grpc::Unavailable | Grpc::DeadlineExceeded | Grpc::ResourceExhausted | Grpc::Cancelled => {
            Code::Unavailable
        }
        // A status that was made here, because the connection broke: tonic calls that unknown or internal.
        _ if status.source().is_some() => Code::Unavailable,
        _ => Code::Internal,
    };
    Failure::new(code, explain(&status))
}

/// As [`refused`], for a write: if nobody knows whether it was done, says how to ask again.
pub(crate) fn refused_write(status: Status, key: &str) -> Failure {
    let failure = refused(status);
    if failure.code == Code::Unavailable {
        return Failure::new(
            failure.code,
            format!("{failure}\nit may have been done; the same again is safe with: --idempotency-key {key}"),
        );
    }
    failure
}

fn explain(status: &Status) -> String {
    let details = status.get_error_details();
    let mut text = status.message().to_owned();
    if text.is_empty() {
        text = status.code().to_string();
    }
    if let Some(info) = details.error_info().filter(|info| !info.reason.is_empty()) {
        text.push_str(&format!(" ({})", info.reason));
    }
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice());
    for violation in violations.unwrap_or_default() {
        // A single one is often the message itself.
        if status.message().contains(&violation.description) {
            continue;
        }
        text.push_str(&format!("\n  {}: {}", violation.field, violation.description));
    }
    text
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn a_trace_is_what_the_w3c_says() {
        let trace = Trace::begin();
        let parts: Vec<&str> = trace.parent.split('-').collect();
        assert_eq!(parts.len(), 4);
        assert_eq!((parts[0], parts[1], parts[3]), ("00", trace.id.as_str(), "01"));
        assert_eq!((parts[1].len(), parts[2].len()), (32, 16));
    }

    #[test]
    fn a_refusal_shows_its_reason_and_every_field() {
        let mut details = ErrorDetails::with_bad_request_violation("items[0].quantity", "1 to 10000");
        details.set_error_info("INVALID_ORDER", "quadrille", []);
        let status =
            Status::with_error_details(Grpc::InvalidArgument, "the order is not well formed", details);
        let failure = refused(status);
        assert_eq!(failure.code, Code::Usage);
        assert_eq!(
            failure.to_string(),
            "the order is not well formed (INVALID_ORDER)\n  items[0].quantity: 1 to 10000"
        );
    }

    #[test]
    fn a_connection_that_breaks_is_no_answer() {
        let broken = Status::from_error(Box::new(std::io::Error::other("reset by peer")));
        assert_eq!(refused(broken).code, Code::Unavailable);
        assert_eq!(
            refused(Status::unknown("a bug of the service")).code,
            Code::Internal
        );
    }

    #[test]
    fn a_write_without_an_answer_says_how_to_ask_again() {
        let lost = refused_write(Status::unavailable("connection reset"), "k-1");
        assert!(lost.to_string().ends_with("--idempotency-key k-1"), "{lost}");
        let no = refused_write(Status::failed_precondition("the order is CONFIRMED"), "k-1");
        assert_eq!(
            (no.code, no.to_string().as_str()),
            (Code::No, "the order is CONFIRMED")
        );
    }
}
