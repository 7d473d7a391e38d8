use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use saga_core::audit::{Partition, Sighted, Sighting, digest};
use saga_core::envelope::{CE_ID, CE_PREVIOUSSEQUENCE, CE_REPLAY, CE_SEQUENCE, CE_SOURCE, CE_TYPE};
use saga_core::position::Position;
use saga_core::strands::{Mark, Strands};
use serde_json::Value;

use super::Audited;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Book {
    partitions: BTreeMap<Place, Partition>,
    pub(super) sagas: BTreeMap<String, Strands<Place, Seen>>,
    pub(super) last: Option<DateTime<Utc>>,
    pub(super) audited: Audited,
    pub(super) wrong: Vec<String>,
}

/// Topic and number.
pub(super) type Place = (String, i64);

/// A record that is news where it stands.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) topic: String,
    pub(super) at: String,
    pub(super) source: String,
    pub(super) sequence: Position,
    pub(super) is_replay: bool,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) data: Value,
    pub(super) time: Option<DateTime<Utc>>,
}

impl Book {
    /// `None`: it is no record.
    pub(super) fn take(&mut self, record: &Value) -> Option<()> {
        let header = |name: &str| record["headers"][name].as_str();
        let topic = record["topic"].as_str()?;
        let (partition, offset) = (record["partition"].as_i64()?, record["offset"].as_i64()?);
        let at = format!("{topic}/{partition}@{offset}");
        self.audited.records += 1;
        // What did not come through a relay has no position, and is no event of ours.
        let Some(sequence) = header(CE_SEQUENCE).and_then(|text| text.parse().ok()) else {
            self.wrong.push(format!("{at}: it has no position"));
            return Some(());
        };
        let (source, key) = (header(CE_SOURCE)?, record["key"].as_str()?);
        let (id, name) = (header(CE_ID)?, header(CE_TYPE)?);
        let data = &record["payload"];
        let sighting = Sighting {
            source,
            sequence,
            previous: header(CE_PREVIOUSSEQUENCE).and_then(|text| text.parse().ok()),
            digest: digest([id.as_bytes(), data.to_string().as_bytes()]),
        };
        let place = (topic.to_owned(), partition);
        let read = self
            .partitions
            .entry(place.clone())
            .or_insert_with(|| Partition::new(offset == 0));
        match read.take(&sighting) {
            Sighted::New => {}
            Sighted::Again => {
                self.audited.again += 1;
                return Some(());
            }
            Sighted::AfterHole { previous, .. } => {
                self.wrong
                    .push(format!("{at}: what was sent before it, {previous}, is not there"));
            }
            Sighted::Altered => self
                .wrong
                .push(format!("{at}: {sequence} was there before, with another content")),
            Sighted::Overtaken { by } => self.wrong.push(format!("{at}: {sequence} comes after {by}")),
            Sighted::Forgotten { last } => self.wrong.push(format!("{at}: {sequence} is far behind {last}")),
        }
        let time = record["timestamp"].as_str().and_then(|time| time.parse().ok());
        self.last = self.last.max(time);
        let mark = Mark {
            source: source.to_owned(),
            sequence: Some(sequence),
            written: time,
        };
        let seen = Seen {
            topic: topic.to_owned(),
            at,
            source: source.to_owned(),
            sequence,
            is_replay: header(CE_REPLAY).is_some(),
            id: id.to_owned(),
            name: name.to_owned(),
            data: data.clone(),
            time,
        };
        self.sagas
            .entry(key.to_owned())
            .or_default()
            .push(place, mark, seen);
        Some(())
    }
}
