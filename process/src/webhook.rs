//! Both sides of a webhook: who sends it signs `id.timestamp.body` with HMAC-SHA256, who receives it
//! verifies before anything of it is believed.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How far a webhook's timestamp may be from our clock, either way.
pub const TOLERANCE_S: u64 = 5 * 60;

/// Signatures that are looked at: a sender that changes its secret sends two.
pub const SIGNATURES_MAX: usize = 16;

/// Header: the message's id, the same on every retry.
pub const ID: &str = "webhook-id";
/// Header: Unix seconds of this attempt.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// Header: space separated `version,base64`.
pub const SIGNATURE: &str = "webhook-signature";

/// The key that both sides share: `whsec_` and the base64 of 24 to 64 random bytes.
#[derive(Clone)]
pub struct WebhookSecret(Vec<u8>);

/// Why a text is no [`WebhookSecret`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not `whsec_` and the base64 of 24 to 64 bytes")]
pub struct MalformedSecret;

/// Why a webhook was not believed. It says nothing that would help a forger.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The timestamp is no number.
    #[error("the webhook's timestamp is not a number of seconds")]
    MalformedTimestamp,
    /// Too long ago, or from the future: a replay, or a clock that is wrong.
    #[error("the webhook's timestamp is more than {TOLERANCE_S} s away from our clock")]
    OutsideTolerance,
    /// More signatures than anybody needs: whoever sends them wants us to be busy.
    #[error("the webhook has more than {SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// None of the signatures is right.
    #[error("no signature of the webhook matches")]
    BadSignature,
}

/// The value of the header [`SIGNATURE`]. `id` holds no full stop; `timestamp` is Unix seconds.
pub fn sign(secret: &WebhookSecret, id: &str, timestamp: u64, body: &[u8]) -> String {
    format!(
        "v1,{}",
        STANDARD.encode(
            mac(secret, id, &timestamp.to_string(), body)
                .finalize()
                .into_bytes()
        )
    )
}

/// Checks a webhook by its three headers and the bytes of its body **as they came**.
///
/// Any one signature may match, so that a sender can change its secret: during the change it signs with
/// both. `now` is Unix seconds.
///
/// # Errors
/// A [`Rejection`], to be answered with 400 or 401.
pub fn verify(
    secret: &WebhookSecret,
    id: &str,
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    now: u64,
) -> Result<(), Rejection> {
    let sent_at: u64 = timestamp.parse().map_err(|_| Rejection::MalformedTimestamp)?;
    if signatures.split(' ').nth(SIGNATURES_MAX).is_some() {
        return Err(Rejection::TooManySignatures);
    }
    // Once, since the body may be long: each comparison below begins where this ends.
    let mac = mac(secret, id, timestamp, body);
    let mut matches = false;
    for signature in signatures.split(' ') {
        let Some(encoded) = signature.strip_prefix("v1,") else {
            continue;
        };
        let Ok(signature) = STANDARD.decode(encoded) else {
            continue;
        };
        // Constant time; and no early way out, so that the position of the match does not show either.
        matches |= mac.clone().verify_slice(&signature).is_ok();
    }
    if !matches {
        return Err(Rejection::BadSignature);
    }
    if sent_at.abs_diff(now) > TOLERANCE_S {
        return Err(Rejection::OutsideTolerance);
    }
    Ok(())
}

fn mac(secret: &WebhookSecret, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).expect("HMAC takes a key of any length");
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

impl FromStr for WebhookSecret {
    type Err = MalformedSecret;

    fn from_str(text: &str) -> Result<WebhookSecret, MalformedSecret> {
        let encoded = text.strip_prefix("whsec_").ok_or(MalformedSecret)?;
        let key = STANDARD.decode(encoded).map_err(|_| MalformedSecret)?;
        if (24..=64).contains(&key.len()) {
            Ok(WebhookSecret(key))
        } else {
            Err(MalformedSecret)
        }
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const NOW: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const GOOD: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn check(signatures: &str, body: &[u8], now: u64) -> Result<(), Rejection> {
        let secret: WebhookSecret = SECRET.parse().unwrap();
        verify(
            &secret,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            signatures,
            body,
            now,
        )
    }

    #[test]
    fn it_signs_as_the_reference_library_does() {
        let secret = SECRET.parse().unwrap();
        assert_eq!(sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", NOW, BODY), GOOD);
        let body = br#"{"type":"contact.created","timestamp":"2022-11-03T20:26:10.344522Z","data":{"id":"1f81eb52-5198-4599-803e-771906343485"}}"#;
        assert_eq!(
            sign(&secret, "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", 1_674_087_231, body),
            "v1,ARw42xaAApl/nxRo+iPGYwSaMQaOwMo2eyH5JBRA+bQ="
        );
    }

    #[test]
    fn it_tolerates_five_minutes_either_way() {
        assert_eq!(check(GOOD, BODY, NOW), Ok(()));
        assert_eq!(check(GOOD, BODY, NOW + 300), Ok(()));
        assert_eq!(check(GOOD, BODY, NOW - 300), Ok(()));
        assert_eq!(check(GOOD, BODY, NOW + 301), Err(Rejection::OutsideTolerance));
        assert_eq!(check(GOOD, BODY, NOW - 301), Err(Rejection::OutsideTolerance));
    }

    #[test]
    fn any_of_several_signatures_may_match() {
        let other = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert_eq!(check(&format!("v1a,junk {other} {GOOD}"), BODY, NOW), Ok(()));
        assert_eq!(check(other, BODY, NOW), Err(Rejection::BadSignature));
        assert_eq!(
            check(&GOOD.replace("v1,", "v2,"), BODY, NOW),
            Err(Rejection::BadSignature)
        );
        assert_eq!(check("", BODY, NOW), Err(Rejection::BadSignature));
    }

    #[test]
    fn a_header_of_many_signatures_is_not_looked_through() {
        let other = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let after = |others: usize| format!("{}{GOOD}", format!("{other} ").repeat(others));
        assert_eq!(check(&after(SIGNATURES_MAX - 1), BODY, NOW), Ok(()));
        assert_eq!(
            check(&after(SIGNATURES_MAX), BODY, NOW),
            Err(Rejection::TooManySignatures)
        );
        // As much as a server lets in.
        assert_eq!(
            check(&after(100_000), BODY, NOW),
            Err(Rejection::TooManySignatures)
        );
    }

    #[test]
    fn whatever_is_signed_cannot_be_changed() {
        let secret: WebhookSecret = SECRET.parse().unwrap();
        let now = "1614265330";
        assert_eq!(
            check(GOOD, br#"{"test": 2432232315}"#, NOW),
            Err(Rejection::BadSignature)
        );
        assert_eq!(
            verify(&secret, "msg_x", now, GOOD, BODY, NOW),
            Err(Rejection::BadSignature)
        );
        assert_eq!(
            verify(
                &secret,
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "1614265331",
                GOOD,
                BODY,
                NOW
            ),
            Err(Rejection::BadSignature)
        );
        assert_eq!(
            verify(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "soon", GOOD, BODY, NOW),
            Err(Rejection::MalformedTimestamp)
        );
    }

    #[test]
    fn a_weak_secret_is_refused() {
        for bad in [
            "",
            "whsec_",
            "whsec_c2hvcnQ=",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_!!",
        ] {
            assert_eq!(
                bad.parse::<WebhookSecret>().unwrap_err(),
                MalformedSecret,
                "{bad}"
            );
        }
        assert_eq!(
            format!("{:?}", SECRET.parse::<WebhookSecret>().unwrap()),
            "whsec_***"
        );
    }
}
