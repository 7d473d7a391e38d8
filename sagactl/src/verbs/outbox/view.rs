use chrono::{DateTime, Utc};
use serde_json::Value;

use super::unsent::InService;
use crate::moment;
use crate::ops::unsent::{Event, Unsent};
use crate::records;
use crate::table::{Column, Table};

pub(super) fn list(all: &[InService], now: DateTime<Utc>) -> String {
    if all.is_empty() {
        return "nothing is parked".to_owned();
    }
    let mut table = Table::new([
        Column::Left("OUTBOX"),
        Column::Left("TOPIC"),
        Column::Left("KEY"),
        Column::Right("SINCE"),
        Column::Right("EVENTS"),
        Column::Left("WHY"),
    ]);
    for InService { service, unsent } in all {
        let why = if unsent.replaying {
            format!("(replay is asked for) {}", unsent.detail)
        } else {
            unsent.detail.clone()
        };
        table.row([
            (*service).to_owned(),
            unsent.topic.clone(),
            unsent.key.clone().unwrap_or_else(|| "(all)".to_owned()),
            moment::span(now - unsent.parked_at),
            unsent.events.to_string(),
            why,
        ]);
    }
    table.to_string()
}

pub(super) fn one(unsent: &Unsent, events: &[Event], now: DateTime<Utc>) -> String {
    let ago = |at: DateTime<Utc>| format!("{} ago", moment::span(now - at));
    let mut lines = vec![
        match &unsent.key {
            Some(key) => format!("key       {key} of {}", unsent.topic),
            None => format!("topic     {}, all keys", unsent.topic),
        },
        format!("parked    {}", ago(unsent.parked_at)),
        format!("why       {}: event {}", unsent.detail, unsent.event),
    ];
    if let Some(tried_at) = unsent.tried_at {
        lines.push(format!("tried     {}, and refused again", ago(tried_at)));
    }
    if unsent.replaying {
        lines.push("replay    is asked for".to_owned());
    }
    for event in events {
        let size = event
            .bytes
            .map_or_else(|| "tombstone".to_owned(), |bytes| format!("{bytes} bytes"));
        lines.push(format!(
            "\n{}  {}  key {}  {size}  {}",
            event.id,
            event.r#type,
            event.key,
            ago(event.created_at)
        ));
        if event.id == unsent.event {
            lines.push("  refused".to_owned());
        }
        lines.push(format!("  {}", payload(event)));
    }
    let left_out = unsent.events - i64::try_from(events.len()).unwrap_or(0);
    if left_out > 0 {
        lines.push(format!("\nand {left_out} more"));
    }
    lines.join("\n")
}

pub(super) fn event_json(event: &Event) -> Value {
    let mut value = serde_json::to_value(event).expect("an event has a JSON form");
    value["payload"] = event.payload.as_deref().map_or(Value::Null, records::payload);
    value
}

/// As much as a terminal takes.
fn payload(event: &Event) -> String {
    let text = event
        .payload
        .as_deref()
        .map_or(Value::Null, records::payload)
        .to_string();
    match text.char_indices().nth(400) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(s: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_785_585_600 + s, 0).unwrap()
    }

    fn unsent(key: Option<&str>) -> Unsent {
        Unsent {
            topic: "order-events".to_owned(),
            key: key.map(str::to_owned),
            reason: "too_large".to_owned(),
            detail: "it is larger than the topic takes".to_owned(),
            event: Uuid::nil(),
            r#type: "order.created".to_owned(),
            parked_at: at(0),
            tried_at: None,
            replaying: false,
            events: 2,
        }
    }

    #[test]
    fn what_is_parked_is_a_table() {
        let all = [Some("o-1"), None].map(|key| InService {
            service: "order",
            unsent: unsent(key),
        });
        let expected = "\
OUTBOX  TOPIC         KEY         SINCE  EVENTS  WHY
order   order-events  o-1    3 min 00 s       2  it is larger than the topic takes
order   order-events  (all)  3 min 00 s       2  it is larger than the topic takes";
        assert_eq!(list(&all, at(180)), expected);
        assert_eq!(list(&[], at(0)), "nothing is parked");
    }

    #[test]
    fn a_key_shows_its_events_in_their_order_and_no_secret() {
        let event = |id: u128, payload: &[u8]| Event {
            position: 7,
            id: Uuid::from_u128(id),
            key: "o-1".to_owned(),
            r#type: "order.created".to_owned(),
            bytes: Some(39),
            payload: Some(payload.to_vec()),
            headers: Value::Null,
            created_at: at(0),
            parked_at: at(1),
        };
        let secret = b"{\"payment_method\":{\"token\":\"tok_ok\"}}";
        let text = one(&unsent(Some("o-1")), &[event(0, secret)], at(60));
        let expected = "\
key       o-1 of order-events
parked    1 min 00 s ago
why       it is larger than the topic takes: event 00000000-0000-0000-0000-000000000000

00000000-0000-0000-0000-000000000000  order.created  key o-1  39 bytes  1 min 00 s ago
  refused
  {\"payment_method\":{\"token\":\"***\"}}

and 1 more";
        assert_eq!(text, expected);
        assert_eq!(
            event_json(&event(1, secret))["payload"]["payment_method"]["token"],
            "***"
        );
    }
}
