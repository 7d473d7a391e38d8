use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::moment;
use crate::ops::effects::Effect;
use crate::ops::parked::{ParkedKey, ParkedMessage};
use crate::records;
use crate::table::{Column, Table};
use crate::verbs::effects::table as effects_table;

pub(super) fn list(keys: &[ParkedKey], exhausted: &[Effect], now: DateTime<Utc>) -> String {
    if keys.is_empty() && exhausted.is_empty() {
        return "nothing is parked, and no effect is exhausted".to_owned();
    }
    let mut parts = Vec::new();
    if !keys.is_empty() {
        let mut table = Table::new([
            Column::Left("PARTICIPANT"),
            Column::Left("KEY"),
            Column::Right("SINCE"),
            Column::Right("MESSAGES"),
            Column::Left("WHY"),
        ]);
        for key in keys {
            let why = if key.replaying {
                format!("(replay is asked for) {}", key.reason)
            } else {
                key.reason.clone()
            };
            table.row([
                key.participant.clone(),
                key.key.clone(),
                moment::span(now - key.parked_at),
                key.messages.to_string(),
                one_line(&why),
            ]);
        }
        parts.push(format!("parked keys:\n{table}"));
    }
    if !exhausted.is_empty() {
        parts.push(format!("exhausted effects:\n{}", effects_table(exhausted, now)));
    }
    parts.join("\n\n")
}

pub(super) fn key(key: &ParkedKey, messages: &[ParkedMessage], now: DateTime<Utc>) -> String {
    let mut lines = vec![
        format!("key       {} of {}", key.key, key.participant),
        format!("parked    {} ago", moment::span(now - key.parked_at)),
        format!("why       {}", key.reason),
    ];
    if key.replaying {
        lines.push("replay    is asked for".to_owned());
    }
    for message in messages {
        let name = header(message, saga_core::envelope::CE_TYPE).unwrap_or_else(|| "(no type)".to_owned());
        lines.push(format!(
            "\nmessage {}  {name}  {}/{}@{}",
            message.seq, message.topic, message.partition, message.offset
        ));
        match &message.reason {
            Some(reason) => lines.push(format!("  refused: {reason}")),
            None => lines.push("  waits behind the one before it".to_owned()),
        }
        lines.push(format!("  {}", payload(message)));
    }
    lines.join("\n")
}

pub(super) fn message_json(message: &ParkedMessage) -> Value {
    let mut value = serde_json::to_value(message).expect("a message has a JSON form");
    value["payload"] = payload(message);
    value["headers"] = message
        .headers
        .as_array()
        .map(|pairs| pairs.iter().filter_map(decoded).collect())
        .unwrap_or_default();
    value
}

fn payload(message: &ParkedMessage) -> Value {
    message.payload.as_deref().map_or(Value::Null, records::payload)
}

fn header(message: &ParkedMessage, name: &str) -> Option<String> {
    let pairs = message.headers.as_array()?;
    let pair = pairs.iter().rev().find(|pair| pair[0] == name)?;
    let bytes = BASE64.decode(pair[1].as_str()?).ok()?;
    String::from_utf8(bytes).ok()
}

fn decoded(pair: &Value) -> Option<Value> {
    let bytes = BASE64.decode(pair[1].as_str()?).ok()?;
    Some(json!([pair[0], String::from_utf8_lossy(&bytes)]))
}

/// Reasons may be long, and hold the lines of somebody's error.
fn one_line(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(120) {
        None => flat,
        Some((end, _)) => format!("{}…", &flat[..end]),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(s: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_785_585_600 + s, 0).unwrap()
    }

    fn parked() -> ParkedKey {
        ParkedKey {
            participant: "inventory".to_owned(),
            key: "o-1".to_owned(),
            reason: "payload is no JSON:\n expected value".to_owned(),
            parked_at: at(0),
            replaying: false,
            messages: 2,
        }
    }

    #[test]
    fn what_waits_for_somebody_is_two_tables() {
        let effect = Effect {
            id: Uuid::nil(),
            participant: "payment".to_owned(),
            saga: "o-2".to_owned(),
            kind: "refund".to_owned(),
            attempt: 9,
            exhausted: true,
            created_at: at(0),
            last_error: Some("500".to_owned()),
            due_in_ms: 0,
        };
        let expected = "\
parked keys:
PARTICIPANT  KEY       SINCE  MESSAGES  WHY
inventory    o-1  3 min 00 s         2  payload is no JSON: expected value

exhausted effects:
EFFECT                                PARTICIPANT  KIND    SAGA  CALLS         AGE  STATE
00000000-0000-0000-0000-000000000000  payment      refund  o-2       9  3 min 00 s  exhausted: 500";
        assert_eq!(list(&[parked()], &[effect], at(180)), expected);
        assert_eq!(
            list(&[], &[], at(0)),
            "nothing is parked, and no effect is exhausted"
        );
    }

    #[test]
    fn a_key_shows_its_messages_in_their_order() {
        let message = |seq: i64, reason: Option<&str>| ParkedMessage {
            seq,
            topic: "order-events".to_owned(),
            partition: 3,
            offset: 16 + seq,
            headers: json!([["ce_type", BASE64.encode("order.created")]]),
            payload: Some(b"{\"payment_method\":{\"token\":\"tok_ok\"}}".to_vec()),
            reason: reason.map(str::to_owned),
            parked_at: at(0),
        };
        let text = key(&parked(), &[message(1, Some("no")), message(2, None)], at(60));
        let expected = "\
key       o-1 of inventory
parked    1 min 00 s ago
why       payload is no JSON:
 expected value

message 1  order.created  order-events/3@17
  refused: no
  {\"payment_method\":{\"token\":\"***\"}}

message 2  order.created  order-events/3@18
  waits behind the one before it
  {\"payment_method\":{\"token\":\"***\"}}";
        assert_eq!(text, expected);
        assert_eq!(
            message_json(&message(1, None))["headers"],
            json!([["ce_type", "order.created"]])
        );
    }
}
