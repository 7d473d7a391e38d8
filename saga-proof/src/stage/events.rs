use std::collections::{BTreeMap, BTreeSet};

use saga_core::audit::{KeyOrder, Partition, Sighted, Sighting, digest};
use saga_core::envelope::{CE_ID, CE_PREVIOUSSEQUENCE, CE_REPLAY, CE_SOURCE, CE_TYPE};
use saga_core::position::Position;
use saga_core::strands::{Mark, Strands};

use super::topics::Record;
use super::witness::Committed;

/// What the topics hold, compared with what was committed.
#[derive(Debug, Default)]
pub struct Findings {
    /// Events that are there, each counted once.
    pub published: usize,
    /// Records that say again what was said.
    pub duplicates: usize,
    /// Records of these keys that no relay of ours wrote.
    pub foreign: usize,
    /// What must not be.
    pub violations: Vec<String>,
}

/// What a check is given to read.
#[derive(Clone, Copy, Debug)]
pub enum Given<'r> {
    /// Whole partitions.
    Whole(&'r [Record]),
    /// Some of their records. What was sent between them is not among them, so a hole is none.
    Some(&'r [Record]),
}

/// G1, G2 and G3 as a reader of the topics sees them.
///
/// * What is in a topic was committed, with this content, under this position (G1).
/// * What was committed is in its topic (G2), as far as `is_due` says that its key is one of those that are asked for.
/// * Along a partition new positions only grow: a consumer takes what is not above the last for a duplicate, so
///   anything else would be lost to it. Of one key, events come in the order of their transactions (G3).
/// * What comes twice is the same twice; one id has one content.
///
/// `committed` is by the name of the outbox; `records` are in the order of each partition.
pub fn check(
    committed: &BTreeMap<String, Vec<Committed>>,
    given: Given<'_>,
    is_due: impl Fn(&str) -> bool,
) -> Findings {
    let (records, whole) = match given {
        Given::Whole(records) => (records, true),
        Given::Some(records) => (records, false),
    };
    let known: BTreeMap<(&str, u64), &Committed> = committed
        .iter()
        .flat_map(|(source, events)| {
            events
                .iter()
                .map(|event| ((source.as_str(), event.position.unsigned_abs()), event))
        })
        .collect();
    let mut findings = Findings::default();
    let mut partitions: BTreeMap<(&str, i32), Partition> = BTreeMap::new();
    // A topic that has grown holds a key in several partitions, whose records were not read in the order in which they
    // were written.
    let mut keys: BTreeMap<(&str, &str, &[u8]), Strands<i32, &Record>> = BTreeMap::new();
    let mut ids: BTreeMap<&str, Position> = BTreeMap::new();
    let mut published: BTreeSet<(&str, u64)> = BTreeSet::new();

    for record in records {
        let (Some(position), Some(source)) = (record.position(), source(record)) else {
            findings.foreign += usize::from(is_due(&record.key_text()));
            continue;
        };
        let place = format!("{}/{}@{}", record.topic, record.partition, record.offset);
        let partition = partitions
            .entry((&record.topic, record.partition))
            .or_insert_with(|| Partition::new(record.offset == 0).remembering(usize::MAX));
        let sighted = partition.take(&Sighting {
            source,
            sequence: position,
            previous: record
                .header(CE_PREVIOUSSEQUENCE)
                .filter(|_| whole)
                .and_then(|text| text.parse().ok()),
            digest: content(record),
        });
        match sighted {
            Sighted::New => {}
            Sighted::Again => {
                findings.duplicates += 1;
                continue;
            }
            Sighted::Altered => {
                findings.duplicates += 1;
                findings
                    .violations
                    .push(format!("{place}: {position} came before with another content"));
                continue;
            }
            Sighted::AfterHole { previous, .. } => findings.violations.push(format!(
                "{place}: {position} was sent after {previous}, which is not there"
            )),
            Sighted::Overtaken { .. } | Sighted::Forgotten { .. } => findings.violations.push(format!(
                "{place}: {position} comes after a higher position: no consumer will take it"
            )),
        }

        match known.get(&(source, position.position)) {
            None => findings
                .violations
                .push(format!("{place}: {position} of {source} was never committed")),
            Some(event) if !is_of(event, record) => {
                findings.violations.push(format!(
                    "{place}: {position} of {source} was committed with another content"
                ));
            }
            Some(_) => {}
        }
        if !published.insert((source, position.position)) {
            findings.violations.push(format!(
                "{place}: {position} of {source} was published under another position, too"
            ));
        }
        if let Some(id) = record.header(CE_ID)
            && let Some(other) = ids.insert(id, position)
        {
            findings
                .violations
                .push(format!("{place}: event {id} is at {other} and at {position}"));
        }
        let key = record.key.as_deref().unwrap_or_default();
        let mark = Mark {
            source: source.to_owned(),
            sequence: Some(position),
            written: None,
        };
        let of_key = keys.entry((source, &record.topic, key)).or_default();
        of_key.push(record.partition, mark, record);
    }
    for of_key in keys.into_values() {
        findings.violations.extend(out_of_order(of_key.merged()));
    }

    for ((source, position), event) in &known {
        if is_due(&event.key) && !published.contains(&(source, *position)) {
            findings.violations.push(format!(
                "{} of key {} (position {position} of {source}) was committed and is not in {}",
                event.r#type, event.key, event.topic
            ));
        }
    }
    findings.published = published.len();
    findings
}

/// What one outbox told of one key, and not in the order of its transactions.
fn out_of_order(records: Vec<&Record>) -> impl Iterator<Item = String> {
    let mut order = KeyOrder::default();
    records.into_iter().filter_map(move |record| {
        let is_replay = record.header(CE_REPLAY).is_some();
        let in_order = order.take(record.position()?, is_replay);
        (!in_order).then(|| {
            format!(
                "{}/{}@{}: {} of key {} overtook what was committed before it",
                record.topic,
                record.partition,
                record.offset,
                record.header(CE_TYPE).unwrap_or_default(),
                record.key_text()
            )
        })
    })
}

/// `/order` is the outbox `order`.
fn source(record: &Record) -> Option<&str> {
    record.header(CE_SOURCE)?.strip_prefix('/')
}

/// What a record says, whenever it says it.
fn content(record: &Record) -> u64 {
    let text = |name: &str| record.header(name).unwrap_or_default();
    digest([
        text(CE_ID).as_bytes(),
        text(CE_TYPE).as_bytes(),
        text(CE_SOURCE).as_bytes(),
        record.key.as_deref().unwrap_or_default(),
        record.payload.as_deref().unwrap_or_default(),
    ])
}

fn is_of(event: &Committed, record: &Record) -> bool {
    record.topic == event.topic
        && record.key.as_deref() == Some(event.key.as_bytes())
        && record.payload == event.payload
        && record.header(CE_ID) == Some(event.id.to_string().as_str())
        && record.header(CE_TYPE) == Some(event.r#type.as_str())
}

#[cfg(test)]
mod tests {
    use saga_core::envelope::CE_SEQUENCE;
    use uuid::Uuid;

    use super::*;

    fn committed(position: i64, key: &str) -> Committed {
        Committed {
            id: Uuid::from_u128(position.unsigned_abs().into()),
            topic: "t".to_owned(),
            key: key.to_owned(),
            r#type: "made".to_owned(),
            payload: Some(position.to_string().into_bytes()),
            position,
        }
    }

    /// As a relay would publish it in this window.
    fn record(offset: i64, window: u64, event: &Committed) -> Record {
        let position = Position::new(1, window, event.position.unsigned_abs());
        let headers = [
            (CE_ID, event.id.to_string()),
            (CE_SOURCE, "/s".to_owned()),
            (CE_TYPE, event.r#type.clone()),
            (CE_SEQUENCE, position.to_string()),
        ];
        Record {
            topic: "t".to_owned(),
            partition: 0,
            offset,
            key: Some(event.key.clone().into_bytes()),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.into_bytes()))
                .into(),
            payload: event.payload.clone(),
        }
    }

    fn found(events: &[Committed], records: &[Record]) -> Findings {
        check(
            &[("s".to_owned(), events.to_vec())].into(),
            Given::Whole(records),
            |_| true,
        )
    }

    #[test]
    fn in_order_and_with_a_repetition_is_right() {
        let [a, b] = [committed(1, "a"), committed(2, "b")];
        let records = [
            record(0, 1, &a),
            record(1, 1, &b),
            record(2, 1, &a),
            record(3, 1, &b),
        ];
        let findings = found(&[a, b], &records);
        assert!(findings.violations.is_empty(), "{findings:?}");
        assert_eq!((findings.published, findings.duplicates), (2, 2));
    }

    #[test]
    fn each_wrong_is_found() {
        let [a, b, other] = [committed(1, "a"), committed(2, "a"), committed(3, "b")];
        let all = [a.clone(), b.clone(), other.clone()];
        let mut changed = record(2, 1, &a);
        changed.payload = Some(b"x".to_vec());
        let mut stranger = record(2, 2, &other);
        stranger.payload = Some(b"x".to_vec());
        let cases: [(&str, &[Committed], Vec<Record>); 7] = [
            ("is not in t", &all, vec![record(0, 1, &a), record(1, 1, &b)]),
            (
                "never committed",
                &all[..2],
                vec![record(0, 1, &a), record(1, 1, &b), record(2, 1, &other)],
            ),
            (
                "comes after a higher",
                &all[..2],
                vec![record(0, 1, &b), record(1, 1, &a)],
            ),
            ("overtook", &all[..2], vec![record(0, 1, &b), record(1, 2, &a)]),
            (
                "with another content",
                &all[..2],
                vec![record(0, 1, &a), record(1, 1, &b), changed],
            ),
            (
                "under another position",
                &all[..2],
                vec![record(0, 1, &a), record(1, 1, &b), record(2, 2, &b)],
            ),
            (
                "committed with another",
                &all,
                vec![record(0, 1, &a), record(1, 1, &b), stranger],
            ),
        ];
        for (expected, events, records) in cases {
            let findings = found(events, &records);
            assert!(
                findings.violations.iter().any(|said| said.contains(expected)),
                "{expected}: {findings:?}"
            );
        }
    }

    #[test]
    fn the_order_of_a_key_is_that_of_all_its_partitions() {
        let all = [committed(1, "a"), committed(2, "a"), committed(3, "a")];
        let [a, b, c] = &all;
        let before = |record: Record| Record {
            partition: 1,
            ..record
        };
        let grown = [record(0, 3, c), before(record(0, 1, a)), before(record(1, 2, b))];
        let findings = found(&all, &grown);
        assert!(findings.violations.is_empty(), "{findings:?}");
        let grown = [record(0, 3, b), before(record(0, 1, a)), before(record(1, 2, c))];
        let findings = found(&all, &grown);
        assert!(
            findings.violations.len() == 1
                && findings.violations[0].starts_with("t/0@0: made of key a overtook"),
            "{findings:?}"
        );
    }

    #[test]
    fn what_still_moves_need_not_be_there_yet() {
        let a = committed(1, "a");
        let findings = check(&[("s".to_owned(), vec![a])].into(), Given::Whole(&[]), |key| {
            key != "a"
        });
        assert!(findings.violations.is_empty(), "{findings:?}");
    }
}
