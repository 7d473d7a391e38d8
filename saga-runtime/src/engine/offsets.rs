//! The consumer's place, moved by compare-and-set in the transaction that applies the batch.

use std::collections::BTreeMap;

use saga_core::{Participant, Position};
use sqlx::{PgConnection, PgPool};

use crate::engine::batch::{Entry, Origin};

// As everywhere, the consumer is a column of a fenced list: `o.consumer = $1` would have all of its partitions compared.
const CLAIM: &str = "\
update saga.consumer_offset o set next_offset = n.next
  from (select $1::text as consumer, topic, partition, expected, next
          from unnest($2::text[], $3::int4[], $4::int8[], $5::int8[]) as u (topic, partition, expected, next) offset 0) as n
 where o.consumer = n.consumer and o.topic = n.topic and o.partition = n.partition and o.next_offset = n.expected";

const SETTLE: &str = "\
update saga.consumer_offset o set next_offset = n.next
  from (select $1::text as consumer, topic, partition, next
          from unnest($2::text[], $3::int4[], $4::int8[]) as u (topic, partition, next) offset 0) as n
 where o.consumer = n.consumer and o.topic = n.topic and o.partition = n.partition";

const NOTE_SOURCES: &str = "\
insert into saga.consumer_source as s (consumer, topic, partition, source, last)
select $1, topic, partition, source, last
  from unnest($2::text[], $3::int4[], $4::text[], $5::text[]) as n (topic, partition, source, last)
    on conflict (consumer, topic, partition, source) do update set last = excluded.last where s.last < excluded.last";

const ENTER: &str = "\
insert into saga.consumer_offset (consumer, topic, partition, next_offset)
select $1, topic, partition, -2 from unnest($2::text[], $3::int4[]) as n (topic, partition)
    on conflict do nothing";

const READ: &str = "\
select o.topic, o.partition, o.next_offset from saga.consumer_offset o
  join (select $1::text as consumer, topic, partition
          from unnest($2::text[], $3::int4[]) as u (topic, partition) offset 0) as n using (consumer, topic, partition)";

const READ_SOURCES: &str = "\
select s.topic, s.partition, s.source, s.last from saga.consumer_source s
  join (select $1::text as consumer, topic, partition
          from unnest($2::text[], $3::int4[]) as u (topic, partition) offset 0) as n using (consumer, topic, partition)";

/// The statements of this module.
pub(crate) const STATEMENTS: &[(&str, &str)] = &[
    ("claim", CLAIM),
    ("settle", SETTLE),
    ("note_sources", NOTE_SOURCES),
    ("enter", ENTER),
    ("read", READ),
    ("read_sources", READ_SOURCES),
];

/// Nothing was read yet: begin with the oldest record there is. Kafka's own number for it.
pub(crate) const BEGINNING: i64 = -2;

/// Where a consumer stands in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The next record to read; [`BEGINNING`] if none was read yet.
    pub(crate) next_offset: i64,
    /// The last position that was applied, per outbox.
    pub(crate) last: BTreeMap<String, Position>,
}

/// How far a batch moves each of its partitions.
#[derive(Debug, Default)]
pub(crate) struct Advance(BTreeMap<(String, i32), i64>);

#[derive(Debug)]
pub(crate) enum ClaimError {
    NotOwner,
    Database(sqlx::Error),
}

impl Advance {
    pub(crate) fn of<P: Participant>(entries: &[Entry<P>]) -> Self {
        let mut next = BTreeMap::new();
        for entry in entries {
            if let Origin::Record { record, .. } = &entry.origin {
                next.insert((record.topic.clone(), record.partition), record.offset + 1);
            }
        }
        Self(next)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&(String, i32), i64)> {
        self.0.iter().map(|(partition, next)| (partition, *next))
    }

    /// First statement of the batch: whoever does not find what it read before has lost the partition.
    pub(crate) async fn claim(
        &self,
        tx: &mut PgConnection,
        consumer: &str,
        expected: &BTreeMap<(String, i32), i64>,
    ) -> Result<(), ClaimError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let topics: Vec<&str> = self.0.keys().map(|(topic, _)| topic.as_str()).collect();
        let partitions: Vec<i32> = self.0.keys().map(|(_, partition)| *partition).collect();
        let nexts: Vec<i64> = self.0.values().copied().collect();
        let Some(was) = self
            .0
            .keys()
            .map(|key| expected.get(key).copied())
            .collect::<Option<Vec<i64>>>()
        else {
            return Err(ClaimError::NotOwner);
        };
        let moved = sqlx::query(CLAIM)
            .bind(consumer)
            .bind(topics)
            .bind(partitions)
            .bind(was)
            .bind(nexts)
            .execute(tx)
            .await
            .map_err(ClaimError::Database)?
            .rows_affected();
        if moved == self.0.len() as u64 {
            Ok(())
        } else {
            Err(ClaimError::NotOwner)
        }
    }

    /// The batch ended before its last entry: the rows, which we hold, go back to where it ended. A partition
    /// of which nothing is left in the prefix goes back to its first record in the batch.
    pub(crate) async fn settle(
        &self,
        tx: &mut PgConnection,
        consumer: &str,
        expected: &BTreeMap<(String, i32), i64>,
        claimed: &Advance,
    ) -> Result<(), sqlx::Error> {
        let (mut topics, mut partitions, mut nexts) = (Vec::new(), Vec::new(), Vec::new());
        for (key, claimed_next) in claimed.iter() {
            let Some(next) = self.0.get(key).or_else(|| expected.get(key)).copied() else {
                continue;
            };
            if next != claimed_next {
                topics.push(key.0.as_str());
                partitions.push(key.1);
                nexts.push(next);
            }
        }
        sqlx::query(SETTLE)
            .bind(consumer)
            .bind(topics)
            .bind(partitions)
            .bind(nexts)
            .execute(tx)
            .await?;
        Ok(())
    }
}

/// Remembers the highest position of each outbox that the batch applied.
pub(crate) async fn note_sources<P: Participant>(
    tx: &mut PgConnection,
    consumer: &str,
    entries: &[Entry<P>],
) -> Result<(), sqlx::Error> {
    let mut last: BTreeMap<(&str, i32, &str), Position> = BTreeMap::new();
    for entry in entries {
        if let Origin::Record {
            record,
            applied: Some((source, position)),
            ..
        } = &entry.origin
        {
            let known = last
                .entry((&record.topic, record.partition, source))
                .or_insert(*position);
            *known = (*known).max(*position);
        }
    }
    if last.is_empty() {
        return Ok(());
    }
    let topics: Vec<&str> = last.keys().map(|(topic, _, _)| *topic).collect();
    let partitions: Vec<i32> = last.keys().map(|(_, partition, _)| *partition).collect();
    let sources: Vec<&str> = last.keys().map(|(_, _, source)| *source).collect();
    let positions: Vec<String> = last.values().map(ToString::to_string).collect();
    sqlx::query(NOTE_SOURCES)
        .bind(consumer)
        .bind(topics)
        .bind(partitions)
        .bind(sources)
        .bind(positions)
        .execute(tx)
        .await?;
    Ok(())
}

/// Where `consumer` stands in `partitions`. What was never read gets a row, since the compare-and-set needs one.
pub(crate) async fn read(
    pool: &PgPool,
    consumer: &str,
    partitions: &[(String, i32)],
) -> Result<BTreeMap<(String, i32), Place>, sqlx::Error> {
    let topics: Vec<&str> = partitions.iter().map(|(topic, _)| topic.as_str()).collect();
    let numbers: Vec<i32> = partitions.iter().map(|(_, partition)| *partition).collect();
    let mut connection = pool.acquire().await?;
    sqlx::query(ENTER)
        .bind(consumer)
        .bind(&topics)
        .bind(&numbers)
        .execute(&mut *connection)
        .await?;
    let rows: Vec<(String, i32, i64)> = sqlx::query_as(READ)
        .bind(consumer)
        .bind(&topics)
        .bind(&numbers)
        .fetch_all(&mut *connection)
        .await?;
    let sources: Vec<(String, i32, String, String)> = sqlx::query_as(READ_SOURCES)
        .bind(consumer)
        .bind(&topics)
        .bind(&numbers)
        .fetch_all(&mut *connection)
        .await?;
    let mut places: BTreeMap<(String, i32), Place> = rows
        .into_iter()
        .map(|(topic, partition, next_offset)| {
            (
                (topic, partition),
                Place {
                    next_offset,
                    last: BTreeMap::new(),
                },
            )
        })
        .collect();
    for (topic, partition, source, last) in sources {
        let position = last
            .parse()
            .map_err(|error: saga_core::position::Malformed| sqlx::Error::Decode(error.into()))?;
        if let Some(place) = places.get_mut(&(topic, partition)) {
            place.last.insert(source, position);
        }
    }
    Ok(places)
}
