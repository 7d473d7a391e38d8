//! What the topics hold, audited: nothing lost, nothing reordered, and every saga as it has to be.
//!
//! It reads a [`record`](crate::record), so it needs neither broker nor database. The rules of a topic are
//! those of [`saga_core::audit`]; what has to be true of a saga is said here, by the names of its events.
//!
//! ```ignore
//! Audit::of("trip.requested")
//!     .ends_with("trip.confirmed")
//!     .ends_with("trip.settled")
//!     .within(Duration::from_secs(900))
//!     .holds("a fee only for a room that was held", |trip| !trip.has("trip.settled") || …)
//!     .check(&Recorded::in_folder("recorded")?)?;
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use saga_core::audit::{KeyOrder, Partition, Sighted, Sighting, digest};
use saga_core::envelope::{CE_ID, CE_PREVIOUSSEQUENCE, CE_REPLAY, CE_SEQUENCE, CE_SOURCE, CE_TYPE};
use serde_json::Value;

use crate::record::{RecordError, Recorded};

/// Discrepancies that are told; there may be more.
const TOLD_MAX: usize = 100;

/// What has to be true.
pub struct Audit {
    begins: &'static str,
    ends: Vec<&'static str>,
    within: Duration,
    claims: Vec<(&'static str, Claim)>,
}

type Claim = Box<dyn Fn(&Events) -> bool>;

/// What was told of one saga, each event once.
#[derive(Clone, Debug, Default)]
pub struct Events {
    told: BTreeMap<String, Vec<Value>>,
    ids: Vec<String>,
    first: Option<DateTime<Utc>>,
}

/// Nothing is wrong with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// Records, copies among them.
    pub records: u64,
    /// Records that are the same again, as after a crash of the relay.
    pub again: u64,
    /// Sagas that have ended.
    pub ended: u64,
    /// Sagas that had not ended when the record did, and still had time.
    pub open: u64,
    /// Sagas that begin before the record does.
    pub cut: u64,
}

impl Events {
    /// Whether this was told.
    pub fn has(&self, event: &str) -> bool {
        self.told.contains_key(event)
    }

    /// The data of an event, as often as it was told.
    pub fn all(&self, event: &str) -> &[Value] {
        self.told.get(event).map_or(&[], Vec::as_slice)
    }

    /// The data of an event that is told once.
    pub fn one(&self, event: &str) -> Option<&Value> {
        self.all(event).first()
    }
}

impl Audit {
    /// Sagas that begin with this event.
    pub fn of(begins: &'static str) -> Self {
        Self {
            begins,
            ends: Vec::new(),
            within: Duration::from_secs(3600),
            claims: Vec::new(),
        }
    }

    /// An event after which a saga is over. Exactly one of them ends it.
    #[must_use]
    pub fn ends_with(mut self, event: &'static str) -> Self {
        self.ends.push(event);
        self
    }

    /// How long a saga may be open; an hour unless said otherwise.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// Has to be true of each saga that has ended.
    #[must_use]
    pub fn holds(mut self, what: &'static str, claim: impl Fn(&Events) -> bool + 'static) -> Self {
        self.claims.push((what, Box::new(claim)));
        self
    }

    /// Audits a record.
    ///
    /// # Errors
    /// [`RecordError::Discrepancies`], or why it cannot be read.
    pub fn check(&self, recorded: &Recorded) -> Result<Audited, RecordError> {
        let mut book = Book::default();
        recorded.lines(|line| book.take(line))?;
        self.close(book)
    }

    fn close(&self, book: Book) -> Result<Audited, RecordError> {
        let mut wrong = book.wrong;
        let mut audited = book.audited;
        let end = book.last;
        for (key, saga) in &book.sagas {
            let mut tell = |what: String| wrong.push(format!("{key}: {what}"));
            let ends: Vec<&str> = self.ends.iter().copied().filter(|end| saga.has(end)).collect();
            let age = saga
                .first
                .zip(end)
                .map(|(first, end)| (end - first).to_std().unwrap_or_default());
            match ends.as_slice() {
                _ if !saga.has(self.begins) => audited.cut += 1,
                [] if age.is_none_or(|age| age <= self.within) => audited.open += 1,
                [] => tell(format!("open for more than {:?}", self.within)),
                [_] => {
                    audited.ended += 1;
                    let broken = self.claims.iter().filter(|(_, claim)| !claim(saga));
                    broken.for_each(|(what, _)| tell(format!("it does not hold that {what}")));
                }
                several => tell(format!("it ended more than once: {}", several.join(", "))),
            }
        }
        wrong.truncate(TOLD_MAX);
        match wrong.is_empty() {
            true => Ok(audited),
            false => Err(RecordError::Discrepancies(wrong)),
        }
    }
}

/// What was read.
#[derive(Debug, Default)]
struct Book {
    partitions: BTreeMap<(String, i64), Partition>,
    /// By partition as well: the files of a record are read one after the other, and a topic that has grown has the older
    /// events of a key in another one than the later ones.
    orders: BTreeMap<(String, i64, String, String), KeyOrder>,
    sagas: BTreeMap<String, Events>,
    last: Option<DateTime<Utc>>,
    audited: Audited,
    wrong: Vec<String>,
}

impl Book {
    /// `None`: it is no record.
    fn take(&mut self, line: &str) -> Option<()> {
        let record: Value = serde_json::from_str(line).ok()?;
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
            .entry(place)
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
        let order = (topic.to_owned(), partition, source.to_owned(), key.to_owned());
        if !self
            .orders
            .entry(order)
            .or_default()
            .take(sequence, header(CE_REPLAY).is_some())
        {
            self.wrong
                .push(format!("{at}: {key} is not in the order of its transactions"));
        }
        let time = record["timestamp"]
            .as_str()
            .and_then(|time| time.parse::<DateTime<Utc>>().ok());
        self.last = self.last.max(time);
        let saga = self.sagas.entry(key.to_owned()).or_default();
        if !saga.ids.iter().any(|known| known == id) {
            saga.ids.push(id.to_owned());
            saga.first = saga.first.into_iter().chain(time).min();
            saga.told.entry(name.to_owned()).or_default().push(data.clone());
        }
        Some(())
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit")
            .field("begins", &self.begins)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn audit() -> Audit {
        Audit::of("loan.begun")
            .ends_with("loan.over")
            .ends_with("loan.refused")
            .within(Duration::from_secs(60))
            .holds("a loan that is over was lent", |loan| {
                !loan.has("loan.over") || loan.has("book.lent")
            })
    }

    /// A record of one partition: position, the one before it, and what it says, so many seconds after noon.
    fn line(key: &str, name: &str, position: u64, previous: Option<u64>, at: u64) -> String {
        let text = |position: u64| format!("00000001-{position:016x}-{position:016x}");
        let mut headers = json!({
            CE_SEQUENCE: text(position), CE_SOURCE: "/desk", CE_ID: format!("{key}-{name}"), CE_TYPE: name,
        });
        if let Some(previous) = previous {
            headers[CE_PREVIOUSSEQUENCE] = json!(text(previous));
        }
        json!({
            "topic": "desk-events", "partition": 0, "offset": position - 1, "key": key, "headers": headers,
            "payload": {"loan": key}, "timestamp": format!("2026-01-01T12:{:02}:{:02}Z", at / 60, at % 60),
        })
        .to_string()
    }

    fn wrong(lines: &[String]) -> Vec<String> {
        let mut book = Book::default();
        for line in lines {
            book.take(line).expect("a record");
        }
        match audit().close(book) {
            Ok(_) => Vec::new(),
            Err(RecordError::Discrepancies(wrong)) => wrong,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_sound_record_has_no_discrepancies() {
        let lines = [
            line("a", "loan.begun", 1, None, 0),
            line("a", "book.lent", 2, Some(1), 1),
            line("a", "book.lent", 2, Some(1), 1),
            line("a", "loan.over", 3, Some(2), 2),
            line("b", "loan.begun", 4, Some(3), 3),
        ];
        assert_eq!(wrong(&lines), Vec::<String>::new());
    }

    /// Files are read by partition, and the older events of a key are in the later file.
    #[test]
    fn a_topic_that_has_grown_is_not_out_of_order() {
        let before = |line: String| line.replace("\"partition\":0", "\"partition\":1");
        let lines = [
            line("a", "loan.over", 3, None, 2),
            before(line("a", "loan.begun", 1, None, 0)),
            before(line("a", "book.lent", 2, Some(1), 1)),
        ];
        assert_eq!(wrong(&lines), Vec::<String>::new());
    }

    #[test]
    fn each_discrepancy_is_told() {
        let cases: [(&[String], &str); 5] = [
            (
                &[
                    line("a", "loan.begun", 1, None, 0),
                    line("a", "book.lent", 3, Some(2), 1),
                ],
                "is not there",
            ),
            (
                &[
                    line("a", "loan.begun", 2, None, 0),
                    line("a", "book.lent", 1, None, 1),
                ],
                "comes after",
            ),
            (
                &[
                    line("a", "loan.begun", 1, None, 0),
                    line("b", "loan.begun", 2, Some(1), 90),
                ],
                "open for more than",
            ),
            (
                &[
                    line("a", "loan.begun", 1, None, 0),
                    line("a", "loan.over", 2, Some(1), 1),
                ],
                "a loan that is over was lent",
            ),
            (
                &[
                    line("a", "loan.begun", 1, None, 0),
                    line("a", "book.lent", 2, Some(1), 1),
                    line("a", "loan.over", 3, Some(2), 1),
                    line("a", "loan.refused", 4, Some(3), 1),
                ],
                "ended more than once",
            ),
        ];
        for (lines, expected) in cases {
            let wrong = wrong(lines);
            assert!(
                wrong.iter().any(|line| line.contains(expected)),
                "{expected}: {wrong:?}"
            );
        }
    }
}
