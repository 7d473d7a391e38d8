use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::finding::{CLASSES, Findings};
use super::log::Tally;
use super::tables::OnTheWay;
use crate::moment;

/// So many discrepancies are shown to people; scripts get a thousand.
const SHOWN_MAX: usize = 40;

/// What an audit came to.
#[derive(Debug)]
pub(crate) struct Report {
    /// When it began: what was committed by then is looked at.
    until: DateTime<Utc>,
    /// The oldest record of the partition that begins last; nothing if nothing is gone.
    from: Option<DateTime<Utc>>,
    slices: u32,
    pub(super) tally: Tally,
    pub(super) orders: u64,
    pub(super) shelves: usize,
    pub(super) findings: Findings,
    pub(super) on_the_way: BTreeMap<&'static str, OnTheWay>,
    /// Records that are still to be read, by all readers together.
    pub(super) unread: i64,
    pub(super) moving: u64,
    pub(super) parked_orders: u64,
    pub(super) discarded_orders: u64,
    pub(super) parked: Parked,
    pub(super) paused: Vec<String>,
    pub(super) took: Duration,
}

/// What waits for a person, visibly.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parked {
    pub(super) keys: i64,
    pub(super) at_relay: i64,
    pub(super) exhausted: i64,
}

impl Report {
    pub(super) fn new(until: DateTime<Utc>, from: Option<DateTime<Utc>>, slices: u32) -> Self {
        Self {
            until,
            from,
            slices,
            tally: Tally::default(),
            orders: 0,
            shelves: 0,
            findings: Findings::default(),
            on_the_way: BTreeMap::new(),
            unread: 0,
            moving: 0,
            parked_orders: 0,
            discarded_orders: 0,
            parked: Parked::default(),
            paused: Vec::new(),
            took: Duration::ZERO,
        }
    }

    /// Whether there is no discrepancy.
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.total() == 0
    }

    /// For scripts.
    pub(crate) fn to_json(&self) -> Value {
        let counts: BTreeMap<&str, u64> = CLASSES
            .iter()
            .map(|class| (class.word(), self.findings.of(*class)))
            .collect();
        json!({
            "clean": self.is_clean(),
            "from": self.from,
            "until": self.until,
            "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "slices": self.slices,
            "events": self.tally.events,
            "repeated": self.tally.repeated,
            "foreign": self.tally.foreign,
            "orders": self.orders,
            "shelves": self.shelves,
            "discrepancies": counts,
            "findings": self.findings.kept,
            "on_the_way": {
                "unpublished": self.on_the_way.iter().map(|(outbox, waits)| {
                    (*outbox, json!({ "events": waits.events, "oldest_ms": waits.oldest_ms }))
                }).collect::<BTreeMap<_, _>>(),
                "unread": self.unread,
                "orders": self.moving,
            },
            "parked": {
                "keys": self.parked.keys,
                "at_relay": self.parked.at_relay,
                "effects": self.parked.exhausted,
                "orders": self.parked_orders,
            },
            "discarded": { "orders": self.discarded_orders },
            "paused": self.paused,
        })
    }
}

/// For people.
impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let from = match self.from {
            Some(from) => format!("since {}", moment::cell(Some(from))),
            None => "since the beginning".to_owned(),
        };
        writeln!(
            f,
            "{} events of {} orders {from}, {} shelves, in {}.{} s:",
            self.tally.events,
            self.orders,
            self.shelves,
            self.took.as_secs(),
            self.took.subsec_millis() / 100
        )?;
        for class in CLASSES {
            writeln!(f, "{:>8} {}", self.findings.of(class), class.word())?;
        }
        for finding in self.findings.kept.iter().take(SHOWN_MAX) {
            writeln!(
                f,
                "  {} {}: {}: {}",
                finding.class.word(),
                finding.name,
                finding.subject,
                finding.detail
            )?;
        }
        let more = self.findings.total() - self.findings.kept.len().min(SHOWN_MAX) as u64;
        if more > 0 {
            writeln!(f, "  … and {more} more; --output json shows a thousand")?;
        }
        let waiting: Vec<String> = self
            .on_the_way
            .iter()
            .filter(|(_, waits)| waits.events > 0)
            .map(|(outbox, waits)| {
                let age = moment::span(TimeDelta::milliseconds(waits.oldest_ms));
                format!("{} in the outbox of {outbox}, for up to {age}", waits.events)
            })
            .collect();
        if !waiting.is_empty() || self.unread > 0 || self.moving > 0 {
            let waiting = if waiting.is_empty() {
                "nothing in an outbox".to_owned()
            } else {
                waiting.join("; ")
            };
            writeln!(
                f,
                "on the way: {waiting}; {} to be read; {} orders move and were not judged",
                self.unread, self.moving
            )?;
        }
        let Parked {
            keys,
            at_relay,
            exhausted,
        } = self.parked;
        if keys + at_relay + exhausted > 0 {
            writeln!(
                f,
                "parked: {keys} keys with participants, {at_relay} keys or topics at the relay, {exhausted} calls; {} orders were not judged",
                self.parked_orders
            )?;
        }
        if self.discarded_orders > 0 {
            writeln!(
                f,
                "discarded by operators: something of {} orders",
                self.discarded_orders
            )?;
        }
        if self.tally.repeated + self.tally.foreign > 0 {
            writeln!(
                f,
                "said again: {} records; written by others: {}",
                self.tally.repeated, self.tally.foreign
            )?;
        }
        if !self.paused.is_empty() {
            writeln!(f, "paused: {}", self.paused.join(", "))?;
        }
        f.write_str(if self.is_clean() {
            "everything adds up"
        } else {
            "it does not add up"
        })
    }
}
