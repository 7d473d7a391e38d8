//! A Kafka record, owned, as the consumer and the quarantine handle it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

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
            // PostgreSQL's text has no NUL.
            Some(key) => match std::str::from_utf8(key) {
                Ok(text) if !text.contains('\0') => text.to_owned(),
                _ => format!("base64:{}", BASE64.encode(key)),
            },
        }
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
    }
}
