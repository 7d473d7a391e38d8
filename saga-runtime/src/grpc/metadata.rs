use std::time::Duration;

use prost::Message;
use sha2::{Digest, Sha256};
use tonic::Status;
use tonic::codegen::http::HeaderMap;
use tonic::metadata::MetadataMap;
use uuid::Uuid;

use super::Violations;
use crate::Idempotency;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const GRPC_TIMEOUT: &str = "grpc-timeout";
const KEY_MAX: usize = 128;

/// What makes a call the same call when it comes again: `owner` (keys of different callers do not meet),
/// `method`, the `idempotency-key` of its metadata, and a hash of the request.
///
/// The key may stand in quotes, as the IETF's draft has it, or bare. If none came, each call counts: then the
/// server makes one.
///
/// # Errors
/// INVALID_ARGUMENT if the key is not 1 to 128 visible ASCII characters, or came twice.
pub fn idempotency(
    metadata: &MetadataMap,
    owner: &str,
    method: &str,
    request: &impl Message,
) -> Result<Idempotency, Status> {
    let mut values = metadata.get_all(IDEMPOTENCY_KEY).iter();
    let key = match (values.next(), values.next()) {
        (None, _) => Uuid::new_v4().to_string(),
        (Some(value), None) => value
            .to_str()
            .ok()
            .map(unquoted)
            .filter(|key| {
                (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
            })
            .ok_or_else(|| malformed("1 to 128 visible ASCII characters"))?
            .to_owned(),
        (Some(_), Some(_)) => return Err(malformed("given once")),
    };
    Ok(Idempotency {
        owner: owner.to_owned(),
        method: method.to_owned(),
        key,
        fingerprint: Sha256::digest(request.encode_to_vec()).to_vec(),
    })
}

/// How long the caller waits, if it says so (`grpc-timeout`).
pub fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    metadata.get(GRPC_TIMEOUT)?.to_str().ok().and_then(parse_timeout)
}

pub(super) fn timeout_in(headers: &HeaderMap) -> Option<Duration> {
    headers.get(GRPC_TIMEOUT)?.to_str().ok().and_then(parse_timeout)
}

/// At most eight digits and a unit. What is not of this form counts as absent.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

fn unquoted(key: &str) -> &str {
    key.strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(key)
}

fn malformed(expected: &str) -> Status {
    let mut violations = Violations::default();
    violations.add(IDEMPOTENCY_KEY, format!("has to be {expected}"));
    violations.status()
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn with_key(values: &[&'static str]) -> Result<Idempotency, Status> {
        let mut metadata = MetadataMap::new();
        for value in values {
            metadata.append(IDEMPOTENCY_KEY, value.parse().expect("a header value"));
        }
        idempotency(&metadata, "ann", "Place", &"request".to_owned())
    }

    #[test]
    fn a_key_may_stand_in_quotes_or_bare() {
        assert_eq!(with_key(&["k-1"]).unwrap(), with_key(&["\"k-1\""]).unwrap());
        assert_eq!(with_key(&["k-1"]).unwrap().key, "k-1");
    }

    #[test]
    fn without_a_key_each_call_counts() {
        assert_ne!(with_key(&[]).unwrap().key, with_key(&[]).unwrap().key);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long: &'static str = Box::leak("k".repeat(KEY_MAX + 1).into_boxed_str());
        for wrong in [vec![""], vec!["\"\""], vec!["a b"], vec![long], vec!["a", "b"]] {
            assert_eq!(
                with_key(&wrong).unwrap_err().code(),
                Code::InvalidArgument,
                "{wrong:?}"
            );
        }
        assert!(with_key(&[&long[1..]]).is_ok());
    }

    #[test]
    fn another_request_has_another_fingerprint() {
        let of = |request: &str| {
            idempotency(&MetadataMap::new(), "ann", "Place", &request.to_owned())
                .unwrap()
                .fingerprint
        };
        assert_eq!(of("one"), of("one"));
        assert_ne!(of("one"), of("two"));
    }

    #[test]
    fn a_timeout_has_at_most_eight_digits_and_a_unit() {
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(
            parse_timeout("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        for wrong in ["", "m", "5", "5x", "-5m", "123456789m", "5µ"] {
            assert_eq!(parse_timeout(wrong), None, "{wrong}");
        }
    }
}
