//! An event as it travels: CloudEvents 1.0, binary mode of the Kafka binding.
//!
//! Attributes are Kafka headers (`ce_…`), the value is the event's JSON. The two extensions of a saga are
//! `correlationid` (the saga) and `causationid` (the input that caused the event).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::position::Position;

/// CloudEvents `id`: the event's id, derived from its cause.
pub const CE_ID: &str = "ce_id";
/// CloudEvents `source`: the outbox that published the event, as `/order`.
pub const CE_SOURCE: &str = "ce_source";
/// CloudEvents `type`: `order.created`.
pub const CE_TYPE: &str = "ce_type";
/// CloudEvents `subject`: the Kafka key.
pub const CE_SUBJECT: &str = "ce_subject";
/// CloudEvents `time`: when the transaction that wrote the event began, RFC 3339.
pub const CE_TIME: &str = "ce_time";
/// CloudEvents `specversion`: always `1.0`.
pub const CE_SPECVERSION: &str = "ce_specversion";
/// CloudEvents `dataschema`: `order.created/1`, which version of the payload this is.
pub const CE_DATASCHEMA: &str = "ce_dataschema";
/// Extension: the saga that the event belongs to.
pub const CE_CORRELATIONID: &str = "ce_correlationid";
/// Extension: the id of the input that caused the event.
pub const CE_CAUSATIONID: &str = "ce_causationid";
/// Extension: W3C trace context of the transaction that wrote the event.
pub const CE_TRACEPARENT: &str = "ce_traceparent";
/// Extension: vendor part of the trace context.
pub const CE_TRACESTATE: &str = "ce_tracestate";
/// Extension: the event's [`Position`].
pub const CE_SEQUENCE: &str = "ce_sequence";
/// Extension: the position that this relay run sent to the same partition before; absent on the first.
pub const CE_PREVIOUSSEQUENCE: &str = "ce_previoussequence";
/// Extension: `true` on what was parked at the relay and is sent again. Its position's last part is its place in the
/// replay and not the outbox row's number.
pub const CE_REPLAY: &str = "ce_replay";
/// CloudEvents `datacontenttype`, which the Kafka binding maps to this header.
pub const CONTENT_TYPE: &str = "content-type";
/// W3C trace context of the current hop.
pub const TRACEPARENT: &str = "traceparent";
/// Vendor part of the trace context of the current hop.
pub const TRACESTATE: &str = "tracestate";
/// The only `content-type` that we write.
pub const JSON: &str = "application/json";
/// The only `specversion` that we write.
pub const SPECVERSION: &str = "1.0";

/// A `source` is no longer than this: it is part of keys, and an index takes only so much.
pub const SOURCE_MAX_BYTES: usize = 255;

/// The attributes of a message, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Unique together with `source`.
    pub id: Uuid,
    /// Who published it.
    pub source: String,
    /// The event's wire name.
    pub r#type: String,
    /// The version of its payload: the number behind the last `/` of `ce_dataschema`; 1 if none came.
    pub version: u32,
    /// When it happened, as its writer's database saw it.
    pub time: Option<DateTime<Utc>>,
    /// The saga it belongs to.
    pub correlation_id: Option<String>,
    /// The input that caused it.
    pub causation_id: Option<String>,
    /// Trace context of the writer.
    pub traceparent: Option<String>,
    /// Vendor part of it.
    pub tracestate: Option<String>,
    /// Where it stands in its outbox; absent from foreign producers.
    pub sequence: Option<Position>,
    /// What the relay sent to this partition before it.
    pub previous: Option<Position>,
}

/// Why a message's headers are not an envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A mandatory attribute is not there.
    #[error("header {0} is missing; a message is a CloudEvent in binary mode")]
    Missing(&'static str),
    /// An attribute is there and cannot be read.
    #[error("header {header} is '{found}'; expected {expected}")]
    Unreadable {
        /// Which header.
        header: &'static str,
        /// Its value, cut to 64 characters.
        found: String,
        /// The form it should have.
        expected: &'static str,
    },
}

impl Envelope {
    /// Reads the attributes from a message's headers. Unknown headers are ignored; of a repeated header
    /// the last one counts.
    ///
    /// # Errors
    /// [`Malformed`] if a mandatory attribute is missing or one of ours cannot be read.
    pub fn from_headers<'h>(
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    ) -> Result<Self, Malformed> {
        let mut raw = Raw::default();
        for (name, value) in headers {
            if let Some(place) = raw.place(name) {
                *place = Some(value);
            }
        }
        raw.read()
    }
}

/// Splits `order.created/2` into its name and version.
pub fn schema_version(dataschema: &str) -> Option<u32> {
    dataschema
        .rsplit_once('/')
        .and_then(|(_, version)| version.parse().ok())
}

#[derive(Default)]
struct Raw<'h> {
    id: Option<&'h [u8]>,
    source: Option<&'h [u8]>,
    r#type: Option<&'h [u8]>,
    specversion: Option<&'h [u8]>,
    time: Option<&'h [u8]>,
    dataschema: Option<&'h [u8]>,
    correlation_id: Option<&'h [u8]>,
    causation_id: Option<&'h [u8]>,
    traceparent: Option<&'h [u8]>,
    tracestate: Option<&'h [u8]>,
    sequence: Option<&'h [u8]>,
    previous: Option<&'h [u8]>,
}

impl<'h> Raw<'h> {
    fn place(&mut self, name: &str) -> Option<&mut Option<&'h [u8]>> {
        Some(match name {
            CE_ID => &mut self.id,
            CE_SOURCE => &mut self.source,
            CE_TYPE => &mut self.r#type,
            CE_SPECVERSION => &mut self.specversion,
            CE_TIME => &mut self.time,
            CE_DATASCHEMA => &mut self.dataschema,
            CE_CORRELATIONID => &mut self.correlation_id,
            CE_CAUSATIONID => &mut self.causation_id,
            CE_TRACEPARENT => &mut self.traceparent,
            CE_TRACESTATE => &mut self.tracestate,
            CE_SEQUENCE => &mut self.sequence,
            CE_PREVIOUSSEQUENCE => &mut self.previous,
            _ => return None,
        })
    }

    fn read(self) -> Result<Envelope, Malformed> {
        let specversion = mandatory(CE_SPECVERSION, self.specversion)?;
        if !specversion.starts_with("1.") {
            return Err(unreadable(CE_SPECVERSION, specversion, "1.0"));
        }
        let id = mandatory(CE_ID, self.id)?;
        let time = optional(CE_TIME, self.time)?
            .map(|time| {
                DateTime::parse_from_rfc3339(time)
                    .map(|t| t.with_timezone(&Utc))
                    .map_err(|_| unreadable(CE_TIME, time, "a time as RFC 3339 has it"))
            })
            .transpose()?;
        let version = optional(CE_DATASCHEMA, self.dataschema)?
            .map(|schema| {
                schema_version(schema)
                    .ok_or_else(|| unreadable(CE_DATASCHEMA, schema, "a name and a version, order.created/1"))
            })
            .transpose()?
            .unwrap_or(1);
        let source = mandatory(CE_SOURCE, self.source)?;
        if source.len() > SOURCE_MAX_BYTES {
            return Err(unreadable(CE_SOURCE, source, "at most 255 bytes"));
        }
        Ok(Envelope {
            id: id.parse().map_err(|_| unreadable(CE_ID, id, "a UUID"))?,
            source: source.to_owned(),
            r#type: mandatory(CE_TYPE, self.r#type)?.to_owned(),
            version,
            time,
            correlation_id: optional(CE_CORRELATIONID, self.correlation_id)?.map(str::to_owned),
            causation_id: optional(CE_CAUSATIONID, self.causation_id)?.map(str::to_owned),
            traceparent: optional(CE_TRACEPARENT, self.traceparent)?.map(str::to_owned),
            tracestate: optional(CE_TRACESTATE, self.tracestate)?.map(str::to_owned),
            sequence: position(CE_SEQUENCE, self.sequence)?,
            previous: position(CE_PREVIOUSSEQUENCE, self.previous)?,
        })
    }
}

fn mandatory<'h>(header: &'static str, value: Option<&'h [u8]>) -> Result<&'h str, Malformed> {
    match optional(header, value)? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(Malformed::Missing(header)),
    }
}

fn optional<'h>(header: &'static str, value: Option<&'h [u8]>) -> Result<Option<&'h str>, Malformed> {
    value
        .map(|bytes| match std::str::from_utf8(bytes) {
            // CloudEvents allows none, and PostgreSQL's text cannot hold one.
            Ok(text) if text.contains('\0') => Err(unreadable(header, text, "text without NUL")),
            Ok(text) => Ok(text),
            Err(_) => Err(unreadable(
                header,
                &String::from_utf8_lossy(bytes),
                "text in UTF-8",
            )),
        })
        .transpose()
}

fn position(header: &'static str, value: Option<&[u8]>) -> Result<Option<Position>, Malformed> {
    optional(header, value)?
        .map(|text| {
            text.parse()
                .map_err(|_| unreadable(header, text, "a position in fixed-width hexadecimal"))
        })
        .transpose()
}

fn unreadable(header: &'static str, found: &str, expected: &'static str) -> Malformed {
    Malformed::Unreadable {
        header,
        found: found.chars().take(64).collect(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "018f4e1c-7d2e-7c3a-9a55-0d8f4f3b2a10";

    fn headers() -> Vec<(&'static str, &'static [u8])> {
        vec![
            (CE_ID, ID.as_bytes()),
            (CE_SOURCE, b"/order"),
            (CE_TYPE, b"order.created"),
            (CE_SPECVERSION, b"1.0"),
            (CE_DATASCHEMA, b"order.created/2"),
            (CE_SEQUENCE, b"00000001-0000000000000002-0000000000000003"),
            ("x-unknown", b"\xff\xfe"),
        ]
    }

    #[test]
    fn reads_ours_and_ignores_the_rest() {
        let envelope = Envelope::from_headers(headers()).expect("well formed");
        assert_eq!(envelope.r#type, "order.created");
        assert_eq!(envelope.version, 2);
        assert_eq!(envelope.sequence, Some(Position::new(1, 2, 3)));
        assert_eq!(envelope.previous, None);
    }

    #[test]
    fn says_what_is_missing() {
        for gone in [CE_ID, CE_SOURCE, CE_TYPE, CE_SPECVERSION] {
            let left = headers().into_iter().filter(|(name, _)| *name != gone);
            assert_eq!(Envelope::from_headers(left), Err(Malformed::Missing(gone)));
        }
    }

    #[test]
    fn says_what_cannot_be_read() {
        for (header, value) in [
            (CE_ID, &b"7"[..]),
            (CE_SEQUENCE, b"7"),
            (CE_TIME, b"yesterday"),
            (CE_DATASCHEMA, b"v2"),
            (CE_TYPE, b"\xff"),
            // PostgreSQL's text has no NUL.
            (CE_TYPE, b"order\0created"),
            (CE_SOURCE, b"/ord\0er"),
            (CE_TRACEPARENT, b"00-\0"),
            (CE_CORRELATIONID, b"\0"),
            (CE_SOURCE, &[b'x'; SOURCE_MAX_BYTES + 1]),
        ] {
            let mut wrong = headers();
            wrong.push((header, value));
            match Envelope::from_headers(wrong) {
                Err(Malformed::Unreadable { header: said, .. }) => assert_eq!(said, header),
                other => panic!("{header}: {other:?}"),
            }
        }
        let mut long = headers();
        long.push((CE_SOURCE, &[b'x'; SOURCE_MAX_BYTES]));
        assert!(Envelope::from_headers(long).is_ok());
    }
}
