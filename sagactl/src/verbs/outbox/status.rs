use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;

use crate::failure::{Code, Failure};
use crate::moment;
use crate::ops::Ops;
use crate::ops::outbox::{self, COUNTED_MAX, Outbox};
use crate::screen::{self, Output};
use crate::settings::Settings;
use crate::table::{Column, Table};

/// Older than this is not a matter of a second any more.
const LATE_MS: i64 = 10_000;

pub(super) async fn run(settings: &Settings, output: Output) -> Result<Code, Failure> {
    let mut ops = Ops::connect(settings).await?;
    let said = match settings.get("RELAY_ADMIN") {
        Some(address) => health(address).await,
        None => None,
    };
    let mut outboxes = Vec::new();
    for service in &mut ops.services {
        let failed = service.failed("look at the outbox");
        let mut outbox = outbox::status(&mut service.connection, service.name)
            .await
            .map_err(failed)?;
        outbox.trouble = said.as_ref().and_then(|said| trouble(said, service.name));
        outboxes.push(outbox);
    }
    screen::show(output, &outboxes, |outboxes| text(outboxes));
    Ok(match ops.conclude() {
        Code::Ok if outboxes.iter().any(is_held_up) => Code::No,
        code => code,
    })
}

/// What the relay's process says of itself, if it answers.
async fn health(address: &str) -> Option<Value> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(3))
        .build()
        .ok()?;
    let url = format!("{}/ready", address.trim_end_matches('/'));
    client.get(url).send().await.ok()?.json().await.ok()
}

fn trouble(health: &Value, source: &str) -> Option<String> {
    let check = &health["checks"][format!("outbox-{source}")];
    (check["status"] == "down").then(|| check["reason"].as_str().unwrap_or("down").to_owned())
}

fn is_held_up(outbox: &Outbox) -> bool {
    outbox.trouble.is_some()
        || outbox.parked > 0
        || outbox.relay.as_ref().is_none_or(|relay| !relay.held)
        || outbox
            .oldest
            .as_ref()
            .is_some_and(|oldest| oldest.age_ms > LATE_MS)
}

fn text(outboxes: &[Outbox]) -> String {
    let span = |ms: i64| moment::span(TimeDelta::milliseconds(ms));
    let mut table = Table::new([
        Column::Left("OUTBOX"),
        Column::Left("RELAY"),
        Column::Right("FENCE"),
        Column::Right("EPOCH"),
        Column::Right("ACKED"),
        Column::Right("WAITING"),
        Column::Right("PARKED"),
        Column::Right("OLDEST"),
    ]);
    for outbox in outboxes {
        let relay = outbox.relay.as_ref();
        let owner = match relay {
            None => "none, ever".to_owned(),
            Some(relay) if relay.held => relay.owner.clone().unwrap_or_else(|| "?".to_owned()),
            Some(relay) => match relay.lease_ms {
                Some(ms) => format!("none, for {}", span(ms)),
                None => "none".to_owned(),
            },
        };
        let waiting = if outbox.waiting > COUNTED_MAX {
            format!("> {COUNTED_MAX}")
        } else {
            outbox.waiting.to_string()
        };
        table.row([
            outbox.service.clone(),
            owner,
            relay.map_or_else(|| "-".to_owned(), |relay| relay.fence.to_string()),
            relay.map_or_else(|| "-".to_owned(), |relay| relay.epoch.to_string()),
            relay
                .and_then(|relay| relay.acked_ms_ago)
                .map_or_else(|| "-".to_owned(), |ms| format!("{} ago", span(ms))),
            waiting,
            outbox.parked.to_string(),
            outbox
                .oldest
                .as_ref()
                .map_or_else(|| "-".to_owned(), |oldest| span(oldest.age_ms)),
        ]);
    }
    let mut text = table.to_string();
    for outbox in outboxes.iter().filter(|outbox| is_held_up(outbox)) {
        if let Some(oldest) = &outbox.oldest {
            text.push_str(&format!(
                "\n{}: the oldest is {} of {} in {}",
                outbox.service, oldest.r#type, oldest.key, oldest.topic
            ));
        }
        if let Some(trouble) = &outbox.trouble {
            text.push_str(&format!("\n{}: {trouble}", outbox.service));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::outbox::{Oldest, Relay};

    fn outbox() -> Outbox {
        Outbox {
            service: "order".to_owned(),
            relay: Some(Relay {
                source: "order".to_owned(),
                owner: Some("relay-1".to_owned()),
                fence: 7,
                held: true,
                lease_ms: Some(4_000),
                epoch: 1,
                acked_win: 99,
                acked_ms_ago: Some(700),
            }),
            waiting: 0,
            parked: 0,
            oldest: None,
            bytes: 8192,
            trouble: None,
        }
    }

    #[test]
    fn an_outbox_that_is_held_up_says_why() {
        let fine = outbox();
        let mut stuck = outbox();
        stuck.service = "payment".to_owned();
        stuck.waiting = 12;
        stuck.parked = 3;
        stuck.oldest = Some(Oldest {
            age_ms: 61_000,
            topic: "payment-events".to_owned(),
            key: "o-1".to_owned(),
            r#type: "payment.created".to_owned(),
        });
        let health =
            serde_json::json!({"checks": {"outbox-payment": {"status": "down", "reason": "too large"}}});
        stuck.trouble = trouble(&health, "payment");
        let mut never = outbox();
        never.service = "product".to_owned();
        never.relay = None;
        assert_eq!([&fine, &stuck, &never].map(is_held_up), [false, true, true]);
        let expected = "\
OUTBOX   RELAY       FENCE  EPOCH    ACKED  WAITING  PARKED      OLDEST
order    relay-1         7      1  0 s ago        0       0           -
payment  relay-1         7      1  0 s ago       12       3  1 min 01 s
product  none, ever      -      -        -        0       0           -
payment: the oldest is payment.created of o-1 in payment-events
payment: too large";
        assert_eq!(text(&[fine, stuck, never]), expected);
    }
}
