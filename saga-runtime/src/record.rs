//! A Kafka record, owned, as the consumer and the quarantine handle it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A longer key is quarantined under its hash: it is part of an index, which takes no more than 2.7 kB.
pub(crate) const KEY_MAX_BYTES: usize = 512;

/// A record with everything that is needed to decide it, park it or send it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Topic, prefix included.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Milliseconds since 1970, as the broker stored it.
    pub timestamp_ms: Option<i64>,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Headers in their order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
}

impl Record {
    /// What the record is quarantined under: its key as text. A record without a key has no successors that
    /// would have to wait, so it stands alone under its coordinates.
    pub fn quarantine_key(&self) -> String {
        match &self.key {
            None => format!("{}/{}/{}", self.topic, self.partition, self.offset),
            Some(key) => quarantine_key(key),
        }
    }

    /// How much memory it takes, nearly.
    pub(crate) fn bytes(&self) -> usize {
        let parts = [self.key.as_deref(), self.payload.as_deref()];
        let headers = self.headers().map(|(name, value)| name.len() + value.len());
        size_of::<Self>()
            + parts.into_iter().flatten().map(<[u8]>::len).sum::<usize>()
            + headers.sum::<usize>()
    }

    /// Headers as pairs of name and bytes.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Headers as the quarantine stores them: an array, since names may repeat, of name and base64.
    pub(crate) fn headers_to_json(&self) -> Value {
        Value::Array(
            self.headers()
                .map(|(name, value)| json!([name.replace('\0', ""), BASE64.encode(value)]))
                .collect(),
        )
    }

    /// Reads [`Self::headers_to_json`] back. What was not written by it is left out.
    pub(crate) fn headers_from_json(value: &Value) -> Vec<(String, Vec<u8>)> {
        let pairs = value.as_array().map(Vec::as_slice).unwrap_or_default();
        pairs
            .iter()
            .filter_map(|pair| {
                let name = pair.get(0)?.as_str()?.to_owned();
                Some((name, BASE64.decode(pair.get(1)?.as_str()?).ok()?))
            })
            .collect()
    }
}

/// What a key is quarantined under, whether it came with a record or is a saga's.
pub(crate) fn quarantine_key(key: &[u8]) -> String {
    let text = match std::str::from_utf8(key) {
        // PostgreSQL's text has no NUL.
        Ok(text) if !text.contains('\0') => text.to_owned(),
        _ => format!("base64:{}", BASE64.encode(key)),
    };
    if text.len() <= KEY_MAX_BYTES {
        return text;
    }
    let hash: String = Sha256::digest(key)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: Option<&[u8]>) -> Record {
        Record {
            topic: "t".into(),
            partition: 3,
            offset: 7,
            timestamp_ms: None,
            key: key.map(<[u8]>::to_vec),
            headers: vec![("a".into(), vec![0, 255]), ("a".into(), b"text".to_vec())],
            payload: None,
        }
    }

    #[test]
    fn headers_survive_the_quarantine() {
        let record = record(None);
        assert_eq!(
            Record::headers_from_json(&record.headers_to_json()),
            record.headers
        );
    }

    #[test]
    fn a_key_that_is_no_text_still_has_a_name() {
        assert_eq!(record(Some(b"o-1")).quarantine_key(), "o-1");
        assert_eq!(record(None).quarantine_key(), "t/3/7");
        assert_eq!(record(Some(&[0xff])).quarantine_key(), "base64:/w==");
        assert_eq!(record(Some(&[0])).quarantine_key(), "base64:AA==");
        let long = [b'x'; KEY_MAX_BYTES + 1];
        assert_eq!(record(Some(&long[1..])).quarantine_key().len(), KEY_MAX_BYTES);
        let hash = record(Some(&long)).quarantine_key();
        assert!(hash.starts_with("sha256:") && hash.len() == 71, "{hash}");
        // In base64 it is too long as well.
        assert!(record(Some(&[0xff; 400])).quarantine_key().starts_with("sha256:"));
    }
}
