use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::http::Problem;

/// What a call does once: the caller's key, and a fingerprint of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Once {
    pub(crate) key: String,
    pub(crate) fingerprint: Vec<u8>,
}

impl Once {
    /// Takes the key from the headers. `route` is part of the fingerprint: a key belongs to one operation.
    ///
    /// The fingerprint is taken from the parsed body, so that white space and the order of members do not
    /// count.
    pub(crate) fn new(headers: &HeaderMap, route: &str, body: &impl Serialize) -> Result<Once, Problem> {
        let key = key(headers)?;
        let mut hash = Sha256::new();
        hash.update(route);
        hash.update([0]);
        hash.update(serde_json::to_vec(body).map_err(|error| Problem::internal(&error))?);
        Ok(Once {
            key,
            fingerprint: hash.finalize().to_vec(),
        })
    }
}

/// The header holds a quoted string by the IETF's draft, and a bare one by most providers' custom.
fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Err(Problem::bad_request(
            "idempotency_key_missing",
            "the header Idempotency-Key is required",
        ));
    };
    let text = value.to_str().unwrap_or_default().trim();
    let text = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(text);
    if text.is_empty() || text.len() > 255 {
        return Err(Problem::bad_request(
            "idempotency_key_malformed",
            "the header Idempotency-Key holds 1 to 255 visible ASCII characters",
        ));
    }
    Ok(text.to_owned())
}

/// The calls that are being answered right now, by key, each with its reference.
///
/// In memory, since it is only true as long as we live: what was not committed when we died did not
/// happen.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashMap<String, String>>>);

/// One call in flight. Drop it **after** the commit: whoever finds neither a call in flight nor a booked
/// charge concludes that there was none.
#[derive(Debug)]
pub(crate) struct Flight {
    calls: InFlight,
    key: String,
}

impl InFlight {
    /// Begins a call, unless one with the same key is under way.
    pub(crate) fn begin(&self, key: &str, reference: &str) -> Option<Flight> {
        let mut calls = self.lock();
        if calls.contains_key(key) {
            return None;
        }
        calls.insert(key.to_owned(), reference.to_owned());
        Some(Flight {
            calls: self.clone(),
            key: key.to_owned(),
        })
    }

    /// Whether a call for this reference is under way.
    pub(crate) fn concerns(&self, reference: &str) -> bool {
        self.lock().values().any(|known| known == reference)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_may_be_quoted_or_bare() {
        let with = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", HeaderValue::from_static(text));
            key(&headers).ok()
        };
        assert_eq!(with("\"a-1\"").as_deref(), Some("a-1"));
        assert_eq!(with("a-1").as_deref(), Some("a-1"));
        assert_eq!(with("\"\""), None);
        assert!(key(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_key_is_in_flight_once() {
        let calls = InFlight::default();
        let flight = calls.begin("k", "order-1").unwrap();
        assert!(calls.begin("k", "order-1").is_none());
        assert!(calls.concerns("order-1"));
        drop(flight);
        assert!(!calls.concerns("order-1"));
        assert!(calls.begin("k", "order-1").is_some());
    }
}
