use std::fmt;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Problem;

/// A JSON body. What is wrong with it is told as a problem.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Problem> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let code = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => "too_large",
                _ => "unreadable",
            };
            Problem::new(rejection.status(), code, rejection.body_text())
        })?;
        let body = serde_json::from_slice(&bytes);
        body.map(Body)
            .map_err(|error| Problem::bad_request("malformed_json", error.to_string()))
    }
}

/// A query string. What is wrong with it is told as a problem.
#[derive(Debug)]
pub(super) struct Parameters<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Parameters<T>, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(parameters)| Parameters(parameters))
            .map_err(|rejection| Problem::bad_request("malformed_query", rejection.body_text()))
    }
}

/// `?reference=…`
#[derive(Debug, Deserialize)]
pub(super) struct ByReference {
    pub(super) reference: String,
}

/// The merchant's own name for something, checked.
pub(super) fn reference(text: &str) -> Result<&str, Problem> {
    let fits = !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control);
    if fits {
        Ok(text)
    } else {
        Err(Problem::invalid(
            "#/reference",
            "1 to 255 bytes without control characters",
        ))
    }
}

/// So much that sums over millions of charges still fit.
const AMOUNT_MAX_MINOR: i64 = 99_999_999_999;

/// An amount in minor units, checked.
pub(super) fn amount(minor: i64) -> Result<i64, Problem> {
    if (1..=AMOUNT_MAX_MINOR).contains(&minor) {
        Ok(minor)
    } else {
        Err(Problem::invalid(
            "#/amount_minor",
            format!("1 to {AMOUNT_MAX_MINOR} minor units"),
        ))
    }
}

/// An ISO 4217 code, checked for its form.
pub(super) fn currency(code: &str) -> Result<&str, Problem> {
    let fits = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    if fits {
        Ok(code)
    } else {
        Err(Problem::invalid("#/currency", "three capital letters, ISO 4217"))
    }
}

/// A web address that a browser may be sent to.
pub(super) fn return_url(text: &str) -> Result<&str, Problem> {
    let uri = text.parse::<axum::http::Uri>().ok();
    let fits =
        uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    if fits && text.len() <= 2048 {
        Ok(text)
    } else {
        Err(Problem::invalid("#/return_url", "an http or https URL"))
    }
}

/// Text inside HTML, where it may not mean anything.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_money_is_refused() {
        assert!(amount(1).is_ok());
        assert!(amount(0).is_err());
        assert!(amount(-5).is_err());
        assert!(amount(i64::MAX).is_err());
        assert!(currency("EUR").is_ok());
        assert!(currency("eur").is_err());
        assert!(currency("EURO").is_err());
    }

    #[test]
    fn a_browser_is_sent_to_the_web_only() {
        assert!(return_url("https://shop.example/thanks?order=1").is_ok());
        assert!(return_url("javascript:alert(1)").is_err());
        assert!(return_url("/thanks").is_err());
    }

    #[test]
    fn text_stays_text_in_html() {
        assert_eq!(
            Escaped("<a b='c\"'>&").to_string(),
            "&lt;a b=&#39;c&quot;&#39;&gt;&amp;"
        );
    }
}
