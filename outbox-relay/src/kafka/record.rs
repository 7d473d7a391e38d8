use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Timelike as _, Utc};
use rdkafka::message::{Header, OwnedHeaders};
use saga_core::envelope::{
    CE_ID, CE_PREVIOUSSEQUENCE, CE_REPLAY, CE_SEQUENCE, CE_SOURCE, CE_SPECVERSION, CE_SUBJECT, CE_TIME,
    CE_TRACEPARENT, CE_TYPE, SPECVERSION, TRACEPARENT,
};
use saga_core::position::Position;
use serde_json::value::RawValue;

use crate::outbox::read::Event;

/// Headers that are the relay's to write. A row that has one of them is not asked.
const OURS: &[&str] = &[
    CE_ID,
    CE_SOURCE,
    CE_TYPE,
    CE_SUBJECT,
    CE_TIME,
    CE_SPECVERSION,
    CE_SEQUENCE,
    CE_PREVIOUSSEQUENCE,
    CE_REPLAY,
];

/// Makes the headers of records. Holds the buffers, since this is the hot path.
#[derive(Debug)]
pub(crate) struct Encoder {
    ce_source: String,
    replay: bool,
    text: String,
    times: Times,
    /// Of this event, and of the one before it in its partition, which often is of another window.
    positions: [Positions; 2],
}

impl Encoder {
    /// `replay`: what was parked is sent again.
    pub(crate) fn new(source: &str, replay: bool) -> Self {
        Self {
            ce_source: format!("/{source}"),
            replay,
            text: String::with_capacity(64),
            times: Times::default(),
            positions: Default::default(),
        }
    }

    /// CloudEvents 1.0, binary mode: attributes and the row's own headers. `hop` is the trace context of
    /// the send span, if there is one.
    pub(crate) fn headers(
        &mut self,
        event: &Event<'_>,
        position: Position,
        previous: Option<Position>,
        hop: Option<&str>,
    ) -> OwnedHeaders {
        let mut out = Headers(Some(OwnedHeaders::new_with_capacity(16)));
        let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
        out.push(CE_SPECVERSION, SPECVERSION.as_bytes());
        out.push(CE_ID, event.id.hyphenated().encode_lower(&mut id).as_bytes());
        out.push(CE_SOURCE, self.ce_source.as_bytes());
        out.push(CE_TYPE, event.r#type.as_bytes());
        out.push(CE_SUBJECT, event.key.as_bytes());
        self.text.clear();
        self.times.write(&mut self.text, event.created_at);
        out.push(CE_TIME, self.text.as_bytes());
        let [positions, previous_positions] = &mut self.positions;
        self.text.clear();
        positions.write(&mut self.text, position);
        out.push(CE_SEQUENCE, self.text.as_bytes());
        if let Some(previous) = previous {
            self.text.clear();
            previous_positions.write(&mut self.text, previous);
            out.push(CE_PREVIOUSSEQUENCE, self.text.as_bytes());
        }
        if self.replay {
            out.push(CE_REPLAY, b"true");
        }
        let mut context = hop.map(str::to_owned);
        for_each_header(event.headers, |name, value| {
            if OURS.contains(&name) || (name == TRACEPARENT && context.is_some()) {
                return;
            }
            if name == CE_TRACEPARENT && context.is_none() {
                context = std::str::from_utf8(value).ok().map(str::to_owned);
            }
            out.push(name, value);
        });
        if let Some(context) = context {
            out.push(TRACEPARENT, context.as_bytes());
        }
        out.0.unwrap_or_default()
    }
}

/// Headers that grow in place.
struct Headers(Option<OwnedHeaders>);

impl Headers {
    fn push(&mut self, name: &str, value: &[u8]) {
        let header = Header {
            key: name,
            value: Some(value),
        };
        self.0 = self.0.take().map(|headers| headers.insert(header));
    }
}

/// The trace context that a row carries, if its writer's trace is sampled.
pub(crate) fn sampled_context(headers: &str) -> Option<String> {
    // Most rows of an installation without tracing end here.
    if !headers.contains(CE_TRACEPARENT) {
        return None;
    }
    let mut context = None;
    for_each_header(headers, |name, value| {
        if name == CE_TRACEPARENT {
            context = std::str::from_utf8(value).ok().map(str::to_owned);
        }
    });
    context.filter(|context| is_sampled(context))
}

fn is_sampled(traceparent: &str) -> bool {
    traceparent
        .rsplit('-')
        .next()
        .and_then(|flags| u8::from_str_radix(flags, 16).ok())
        .is_some_and(|flags| flags & 1 == 1)
}

/// The members of a row's `headers`: a text as it is, `{"base64": "…"}` decoded, anything else as its
/// JSON. A column that is not an object has no members: an event is not held up by its decoration.
fn for_each_header(headers: &str, mut each: impl FnMut(&str, &[u8])) {
    #[derive(serde::Deserialize)]
    struct Binary<'h> {
        #[serde(borrow)]
        base64: std::borrow::Cow<'h, str>,
    }
    struct Members<F>(F);
    impl<'de, F: FnMut(&str, &[u8])> serde::de::Visitor<'de> for Members<F> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of headers")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((name, raw)) = map.next_entry::<std::borrow::Cow<'de, str>, &'de RawValue>()? {
                let json = raw.get();
                if json.starts_with('"') {
                    if let Ok(text) = serde_json::from_str::<std::borrow::Cow<'_, str>>(json) {
                        (self.0)(&name, text.as_bytes());
                        continue;
                    }
                } else if json.starts_with('{')
                    && let Ok(binary) = serde_json::from_str::<Binary<'_>>(json)
                    && let Ok(bytes) = STANDARD.decode(binary.base64.as_bytes())
                {
                    (self.0)(&name, &bytes);
                    continue;
                }
                (self.0)(&name, json.as_bytes());
            }
            Ok(())
        }
    }
    if headers == "{}" {
        return;
    }
    let mut json = serde_json::Deserializer::from_str(headers);
    if let Err(error) = serde::Deserializer::deserialize_map(&mut json, Members(&mut each)) {
        tracing::debug!(%error, "headers are not an object");
    }
}

/// Times in RFC 3339. Events that come one after the other mostly share a second, and chrono's own formatting is a tenth
/// of what an event costs.
#[derive(Debug, Default)]
struct Times {
    second: Option<i64>,
    /// Up to the point before the microseconds.
    until_second: String,
}

impl Times {
    fn write(&mut self, text: &mut String, time: DateTime<Utc>) {
        if self.second != Some(time.timestamp()) {
            self.second = Some(time.timestamp());
            self.until_second.clear();
            // Writing to a String cannot fail.
            write!(self.until_second, "{}", time.format("%Y-%m-%dT%H:%M:%S.")).ok();
        }
        text.push_str(&self.until_second);
        // A leap second has more of them.
        digits::<10>(text, u64::from(time.nanosecond() / 1000 % 1_000_000), 6);
        text.push('Z');
    }
}

/// Positions as [`Position`]'s `Display` has them, without the formatting machinery. Those of a window begin alike.
#[derive(Debug, Default)]
struct Positions {
    window: Option<(u32, u64)>,
    until_window: String,
}

impl Positions {
    fn write(&mut self, text: &mut String, position: Position) {
        let window = (position.epoch, position.window);
        if self.window != Some(window) {
            self.window = Some(window);
            self.until_window.clear();
            digits::<16>(&mut self.until_window, u64::from(position.epoch), 8);
            self.until_window.push('-');
            digits::<16>(&mut self.until_window, position.window, 16);
            self.until_window.push('-');
        }
        text.push_str(&self.until_window);
        digits::<16>(text, position.position, 16);
    }
}

/// The last digits of a number, of which there are 20 at most.
fn digits<const BASE: u64>(text: &mut String, mut number: u64, count: usize) {
    let mut written = [b'0'; 20];
    for digit in written[..count].iter_mut().rev() {
        let value = u8::try_from(number % BASE).unwrap_or(0);
        *digit = if value < 10 {
            b'0' + value
        } else {
            b'a' + value - 10
        };
        number /= BASE;
    }
    // They are ASCII.
    text.push_str(std::str::from_utf8(&written[..count]).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers as _;
    use uuid::Uuid;

    use super::*;

    fn event(headers: &str) -> Event<'_> {
        Event {
            position: 7,
            id: Uuid::from_u128(1),
            topic: "order-events",
            key: "k1",
            r#type: "order.created",
            payload: None,
            headers,
            created_at: DateTime::from_timestamp_micros(1_700_000_000_000_042).expect("in range"),
        }
    }

    fn encode(headers: &str, previous: Option<Position>, hop: Option<&str>) -> Vec<(String, String)> {
        let encoded =
            Encoder::new("order", false).headers(&event(headers), Position::new(1, 0xabc, 7), previous, hop);
        encoded
            .iter()
            .map(|header| {
                let value = header.value.expect("each has a value");
                (header.key.to_owned(), String::from_utf8_lossy(value).into_owned())
            })
            .collect()
    }

    fn get<'h>(headers: &'h [(String, String)], name: &str) -> Vec<&'h str> {
        headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
            .collect()
    }

    #[test]
    fn attributes_are_the_rows_and_the_relays() {
        let headers = encode("{}", Some(Position::new(1, 0xabb, 6)), None);
        assert_eq!(get(&headers, CE_ID), ["00000000-0000-0000-0000-000000000001"]);
        assert_eq!(get(&headers, CE_SOURCE), ["/order"]);
        assert_eq!(get(&headers, CE_TIME), ["2023-11-14T22:13:20.000042Z"]);
        assert_eq!(
            get(&headers, CE_SEQUENCE),
            [Position::new(1, 0xabc, 7).to_string()]
        );
        assert_eq!(
            get(&headers, CE_PREVIOUSSEQUENCE),
            [Position::new(1, 0xabb, 6).to_string()]
        );
        assert!(get(&headers, TRACEPARENT).is_empty());
        assert!(get(&encode("{}", None, None), CE_PREVIOUSSEQUENCE).is_empty());
    }

    #[test]
    fn members_are_copied_but_never_over_ours() {
        let headers = encode(
            r#"{"ce_id":"forged","content-type":"application/json","b":{"base64":"AQI="},"n":1,"q":"a\"b","x":{"y":null}}"#,
            None,
            None,
        );
        assert_eq!(get(&headers, CE_ID).len(), 1);
        assert_eq!(get(&headers, "content-type"), ["application/json"]);
        assert_eq!(get(&headers, "b"), ["\u{1}\u{2}"]);
        assert_eq!(get(&headers, "n"), ["1"]);
        assert_eq!(get(&headers, "q"), ["a\"b"]);
        assert_eq!(get(&headers, "x"), [r#"{"y":null}"#]);
        assert_eq!(encode("[1]", None, None), encode("{}", None, None));
    }

    #[test]
    fn what_is_sent_again_says_so() {
        let mut encoder = Encoder::new("order", true);
        let headers = encoder.headers(
            &event(r#"{"ce_replay":"forged"}"#),
            Position::new(1, 2, 1),
            None,
            None,
        );
        let said: Vec<&[u8]> = headers
            .iter()
            .filter(|header| header.key == CE_REPLAY)
            .filter_map(|header| header.value)
            .collect();
        assert_eq!(said, [b"true"]);
        assert!(get(&encode("{}", None, None), CE_REPLAY).is_empty());
    }

    #[test]
    fn the_hop_carries_the_writers_context_unless_there_is_a_send_span() {
        let row = r#"{"ce_traceparent":"00-aa-bb-01","traceparent":"00-aa-cc-01"}"#;
        let plain = encode(row, None, None);
        assert_eq!(get(&plain, CE_TRACEPARENT), ["00-aa-bb-01"]);
        assert_eq!(get(&plain, TRACEPARENT), ["00-aa-bb-01"]);
        let traced = encode(row, None, Some("00-aa-dd-01"));
        assert_eq!(get(&traced, CE_TRACEPARENT), ["00-aa-bb-01"]);
        assert_eq!(get(&traced, TRACEPARENT), ["00-aa-dd-01"]);
        assert_eq!(sampled_context(row).as_deref(), Some("00-aa-bb-01"));
        assert_eq!(sampled_context(r#"{"ce_traceparent":"00-aa-bb-00"}"#), None);
    }

    #[test]
    fn times_and_positions_are_written_as_everybody_does() {
        let (mut times, mut positions) = (Times::default(), Positions::default());
        for micros in [
            0,
            1,
            999_999,
            1_000_000,
            1_700_000_000_000_042,
            1_700_000_000_999_999,
            -1,
        ] {
            let time = DateTime::from_timestamp_micros(micros).expect("in range");
            let mut text = String::new();
            times.write(&mut text, time);
            assert_eq!(text, time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true));
        }
        for position in [
            (1, 2, 3),
            (1, 2, u64::MAX),
            (1, u64::MAX, 0),
            (u32::MAX, 0xabc, 0x1234_5678_9abc_def0),
        ] {
            let position = Position::new(position.0, position.1, position.2);
            let mut text = String::new();
            positions.write(&mut text, position);
            assert_eq!(text, position.to_string());
        }
    }
}
