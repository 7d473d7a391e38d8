use std::time::Duration;

use chrono::{DateTime, Utc};
use quadrille_process::{Chain, telemetry};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};
use saga_runtime::Failure;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ProviderConfig, ProviderError};

/// The provider's codes that mean something to us.
pub(super) mod code {
    /// The body is wrong. It was not booked.
    pub(in super::super) const INVALID_REQUEST: &str = "invalid_request";
    /// The key came with another body before.
    pub(in super::super) const KEY_REUSED: &str = "idempotency_key_reused";
    /// There is no such thing.
    pub(in super::super) const NOT_FOUND: &str = "not_found";
    /// More is to be given back than is left.
    pub(in super::super) const REFUND_EXCEEDS_CHARGE: &str = "refund_exceeds_charge";
}

/// Far more than any answer has.
const BODY_MAX_BYTES: usize = 64 * 1024;
/// An idle connection is closed by us before anything in between forgets it.
const IDLE: Duration = Duration::from_secs(50);
/// Nobody puts us off for longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// The provider's API over HTTP. Calls end by the timeout of whoever awaits them.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    /// Without a slash at its end.
    base: String,
}

/// Said by the provider itself: a "no" with a code. Which of them is definite, the call knows.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: String,
    status: StatusCode,
    detail: String,
}

/// An answer, a refusal, or neither.
pub(super) type Said<T> = Result<Result<T, Refusal>, Failure>;

/// Problem details, RFC 9457, with the provider's own members.
#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    retryable: bool,
}

impl Client {
    pub(super) fn new(config: &ProviderConfig, connections: usize) -> Result<Self, ProviderError> {
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", config.key.expose()))
            .map_err(|_| ProviderError::Key)?;
        authorization.set_sensitive(true);
        let http = reqwest::Client::builder()
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, authorization)]))
            .user_agent(concat!("quadrille-payment/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.connect_timeout)
            .pool_max_idle_per_host(connections)
            .pool_idle_timeout(IDLE)
            // A redirect would take the key to where nobody meant it to go.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(ProviderError::Client)?;
        Ok(Self {
            http,
            base: config.url.as_str().trim_end_matches('/').to_owned(),
        })
    }

    /// Asks for something by its reference.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        path: &str,
        reference: Uuid,
    ) -> Result<Option<T>, Failure> {
        let request = self
            .http
            .get(format!("{}{path}?reference={reference}", self.base));
        match self.send(request).await? {
            Ok(found) => Ok(Some(found)),
            Err(refusal) if refusal.code == code::NOT_FOUND => Ok(None),
            Err(refusal) => Err(refusal.failure()),
        }
    }

    /// Has something done under an idempotency key.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        idempotency_key: &str,
        body: &impl Serialize,
    ) -> Said<T> {
        let request = self
            .http
            .post(format!("{}{path}", self.base))
            .header("idempotency-key", idempotency_key)
            .json(body);
        self.send(request).await
    }

    async fn send<T: DeserializeOwned>(&self, mut request: RequestBuilder) -> Said<T> {
        if let Some(trace) = telemetry::current_trace() {
            request = request.header("traceparent", trace.traceparent);
            if let Some(state) = trace.tracestate {
                request = request.header("tracestate", state);
            }
        }
        let response = request.send().await.map_err(|error| lost(&error.without_url()))?;
        let status = response.status();
        let retry_after = retry_after(response.headers(), Utc::now());
        let body = read(response).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map(Ok).map_err(|error| {
                Failure::new(format_args!("the provider's answer cannot be read: {error}"))
            });
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            tracing::error!(%status, "the provider refuses our key");
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if is_refusal(status) && !problem.retryable => Ok(Err(Refusal {
                code: problem.code,
                status,
                detail: problem.detail,
            })),
            problem => {
                let code = problem.map(|problem| problem.code).unwrap_or_default();
                let mut failure = Failure::new(format_args!("the provider answered {status} {code}"));
                failure.retry_after = retry_after;
                Err(failure)
            }
        }
    }
}

impl Refusal {
    /// It is no answer to what was asked.
    pub(super) fn failure(&self) -> Failure {
        let Self { code, status, detail } = self;
        Failure::new(format_args!("the provider answered {status} {code}: {detail}"))
    }
}

/// Statuses under which a provider says no for good. The others say that this was not the moment.
fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error()
        && !matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_EARLY
                | StatusCode::TOO_MANY_REQUESTS
        )
}

async fn read(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| lost(&error.without_url()))?
    {
        if body.len() + chunk.len() > BODY_MAX_BYTES {
            return Err(Failure::new("the provider's answer is too long to be one"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// It may have been done or not.
fn lost(error: &reqwest::Error) -> Failure {
    Failure::new(format_args!("no answer from the provider: {}", Chain(error)))
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now)
            .to_std()
            .unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_has_a_bound() {
        let now = Utc
            .with_ymd_and_hms(2026, 8, 1, 12, 0, 0)
            .single()
            .expect("a date");
        let of = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(of("7"), Some(7));
        assert_eq!(of("Sat, 01 Aug 2026 12:00:09 GMT"), Some(9));
        assert_eq!(of("Sat, 01 Aug 2026 11:00:00 GMT"), Some(0));
        assert_eq!(of("99999999"), Some(600));
        assert_eq!(of("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
