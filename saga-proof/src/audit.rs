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

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use saga_core::audit::KeyOrder;
use saga_core::strands::Strands;
use serde_json::Value;

use crate::record::{RecordError, Recorded};

/// What was read.
mod book;

use book::{Book, Place, Seen};

/// Discrepancies that are told; there may be more.
const TOLD_MAX: usize = 100;

/// What has to be true.
pub struct Audit {
    begins: &'static str,
    ends: Vec<&'static str>,
    within: Duration,
    claims: Vec<(String, Claim)>,
}

type Claim = Box<dyn Fn(&Events) -> bool>;

/// What was told of one saga, each event once.
#[derive(Clone, Debug, Default)]
pub struct Events {
    told: BTreeMap<String, Vec<Value>>,
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
    /// Puts together what the partitions hold of a saga, and says what of it is not in the order of its transactions.
    fn of(key: &str, records: Strands<Place, Seen>, wrong: &mut Vec<String>) -> Self {
        let mut events = Self::default();
        let mut orders: BTreeMap<(String, String), KeyOrder> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for record in records.merged() {
            let order = orders.entry((record.topic, record.source)).or_default();
            if !order.take(record.sequence, record.is_replay) {
                let at = record.at;
                wrong.push(format!("{at}: {key} is not in the order of its transactions"));
            }
            if ids.insert(record.id) {
                events.first = events.first.into_iter().chain(record.time).min();
                events.told.entry(record.name).or_default().push(record.data);
            }
        }
        events
    }

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
        self.claims.push((what.to_owned(), Box::new(claim)));
        self
    }

    /// Of each saga that has ended, either both of these events were told or neither.
    #[must_use]
    pub fn together(mut self, one: &'static str, other: &'static str) -> Self {
        let what = format!("{one} comes with {other}");
        let claim = move |events: &Events| events.has(one) == events.has(other);
        self.claims.push((what, Box::new(claim)));
        self
    }

    /// Audits a record.
    ///
    /// # Errors
    /// [`RecordError::Discrepancies`]; [`RecordError::NothingEnded`] if it has no saga that anything could be claimed of; or why it
    /// cannot be read.
    pub fn check(&self, recorded: &Recorded) -> Result<Audited, RecordError> {
        let mut book = Book::default();
        recorded.records(|record| book.take(record))?;
        self.close(book)
    }

    fn close(&self, book: Book) -> Result<Audited, RecordError> {
        let mut wrong = book.wrong;
        let mut audited = book.audited;
        let end = book.last;
        for (key, records) in book.sagas {
            let saga = &Events::of(&key, records, &mut wrong);
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
        match (wrong.is_empty(), audited.ended) {
            (false, _) => Err(RecordError::Discrepancies(wrong)),
            (true, 0) => Err(RecordError::NothingEnded { begins: self.begins }),
            (true, _) => Ok(audited),
        }
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
    use saga_core::envelope::{CE_ID, CE_PREVIOUSSEQUENCE, CE_SEQUENCE, CE_SOURCE, CE_TYPE};
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
            .together("book.lent", "loan.over")
    }

    /// A record of one partition: position, the one before it, and what it says, so many seconds after noon.
    fn line(key: &str, name: &str, position: u64, previous: Option<u64>, at: u64) -> Value {
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
    }

    fn wrong(lines: &[Value]) -> Vec<String> {
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

    /// As it stood in partition 1 before the topic grew: partitions are read one after the other, and its older events
    /// are in the later one.
    fn before(mut line: Value) -> Value {
        line["partition"] = json!(1);
        line
    }

    #[test]
    fn a_topic_that_has_grown_is_not_out_of_order() {
        let lines = [
            line("a", "loan.over", 3, None, 2),
            before(line("a", "loan.begun", 1, None, 0)),
            before(line("a", "book.lent", 2, Some(1), 1)),
        ];
        assert_eq!(wrong(&lines), Vec::<String>::new());
    }

    /// Each partition is in order by itself. Of the three events the one that was told last was committed in the middle,
    /// or was told before.
    #[test]
    fn what_is_out_of_order_is_found_although_the_topic_has_grown() {
        let at = |window: u64, position: u64| json!(format!("00000001-{window:016x}-{position:016x}"));
        for sequence in [at(9, 2), at(3, 3)] {
            let mut last = line("a", "loan.over", 1, None, 2);
            last["headers"][CE_SEQUENCE] = sequence;
            let lines = [
                last,
                before(line("a", "loan.begun", 1, None, 0)),
                before(line("a", "book.lent", 3, Some(1), 1)),
            ];
            assert_eq!(
                wrong(&lines),
                ["desk-events/0@0: a is not in the order of its transactions"]
            );
        }
    }

    #[test]
    fn a_record_in_which_nothing_ended_shows_nothing() {
        let mut book = Book::default();
        book.take(&line("a", "loan.begun", 1, None, 0)).expect("a record");
        let nothing = audit().close(book).expect_err("it is open");
        assert!(
            nothing.to_string().contains("that begins with loan.begun"),
            "{nothing}"
        );
    }

    #[test]
    fn each_discrepancy_is_told() {
        let cases: [(&[Value], &str); 6] = [
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
                    line("a", "loan.refused", 3, Some(2), 1),
                ],
                "it does not hold that book.lent comes with loan.over",
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
