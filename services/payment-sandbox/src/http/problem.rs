use std::error::Error;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quadrille_process::Chain;
use serde_json::json;

use crate::ledger::LedgerError;
use crate::store::StoreError;

/// An error as the caller sees it: problem details, RFC 9457.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    /// For programs; the last part of `type`.
    code: &'static str,
    /// For people.
    detail: String,
    /// Which member of the body is wrong, as a JSON Pointer.
    pointer: Option<&'static str>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            code,
            detail: detail.into(),
            pointer: None,
        }
    }

    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(crate) fn invalid(pointer: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            pointer: Some(pointer),
            ..Problem::bad_request("invalid_request", detail)
        }
    }

    pub(crate) fn unauthorized() -> Problem {
        let detail = "the header Authorization must hold `Bearer` and the merchant's key";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub(crate) fn method_not_allowed() -> Problem {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "no such method on this route",
        )
    }

    pub(crate) fn conflict(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, code, detail)
    }

    pub(crate) fn in_flight() -> Problem {
        let detail = "a call with this idempotency key is being answered right now";
        Problem::conflict("idempotency_key_in_use", detail)
    }

    pub(crate) fn key_reused() -> Problem {
        let detail = "this idempotency key came with another request before";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail)
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    /// Misbehaviour that was asked for.
    pub(crate) fn on_purpose(status: StatusCode) -> Problem {
        Problem::new(status, "on_purpose", "refused on purpose; nothing was booked")
    }

    pub(crate) fn internal(error: &(dyn Error + 'static)) -> Problem {
        tracing::error!(cause = %Chain(error), "request failed");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "our mistake")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let retryable = self.status.is_server_error() || self.code == "idempotency_key_in_use";
        let mut body = json!({
            "type": format!("urn:quadrille:payment-sandbox:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "retryable": retryable,
        });
        if let Some(pointer) = self.pointer {
            body["errors"] = json!([{ "detail": self.detail, "pointer": pointer }]);
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// It may have been booked or not: the caller asks again with the same key, or queries.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        if error.is_connection() {
            tracing::warn!(cause = %Chain(&error), "books cannot be reached");
            Problem::unavailable("the books cannot be reached")
        } else {
            Problem::internal(&error)
        }
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Problem {
        match error {
            LedgerError::Full => Problem::unavailable("too many charges wait"),
            LedgerError::Closed => Problem::unavailable("stopping"),
            // Logged by the ledger, once for the whole batch.
            LedgerError::Store(cause) if cause.is_connection() => {
                Problem::unavailable("the books cannot be reached")
            }
            LedgerError::Store(_) => Problem::internal(&error),
        }
    }
}
