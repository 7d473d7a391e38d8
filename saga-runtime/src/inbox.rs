//! The inbox: one row per message, for topics whose producers have no outbox of ours and so no positions.

use std::collections::BTreeSet;

use saga_core::Participant;
use sqlx::PgConnection;

use crate::engine::batch::{Entry, Origin};

// Days are partitions, so a primary key over (source, id) alone cannot be: look in all of them first. Two
// consumers of one partition do not meet here, since the offset was claimed before. `i.consumer = $1` would have all that
// the consumer ever read compared, on a plan that was made while the table was empty: so it is a column of a fenced list.
const KNOWN: &str = "\
select i.source, i.id from saga.inbox i
  join (select $1::text as consumer, source, id
          from unnest($2::text[], $3::text[]) as u (source, id) offset 0) as m using (consumer, source, id)";

const NOTE: &str = "\
insert into saga.inbox (consumer, source, id)
select $1, source, id from unnest($2::text[], $3::text[]) as m (source, id)
    on conflict do nothing";

/// The statements of this module.
pub(crate) const STATEMENTS: &[(&str, &str)] = &[("known", KNOWN), ("note", NOTE)];

/// Entries whose message was applied before, or stands earlier in this batch. The others are noted.
pub(crate) async fn known<P: Participant>(
    tx: &mut PgConnection,
    consumer: &str,
    entries: &[Entry<P>],
) -> Result<BTreeSet<usize>, sqlx::Error> {
    let messages: Vec<(usize, &(String, String))> = entries
        .iter()
        .enumerate()
        .filter_map(|(i, entry)| match &entry.origin {
            Origin::Record {
                inbox: Some(message), ..
            } => Some((i, message)),
            _ => None,
        })
        .collect();
    if messages.is_empty() {
        return Ok(BTreeSet::new());
    }
    let sources: Vec<&str> = messages.iter().map(|(_, (source, _))| source.as_str()).collect();
    let ids: Vec<&str> = messages.iter().map(|(_, (_, id))| id.as_str()).collect();
    let rows: Vec<(String, String)> = sqlx::query_as(KNOWN)
        .bind(consumer)
        .bind(&sources)
        .bind(&ids)
        .fetch_all(&mut *tx)
        .await?;
    let mut seen: BTreeSet<(String, String)> = rows.into_iter().collect();
    let known = messages
        .iter()
        .filter(|(_, message)| !seen.insert((*message).clone()))
        .map(|(i, _)| *i)
        .collect();
    sqlx::query(NOTE)
        .bind(consumer)
        .bind(sources)
        .bind(ids)
        .execute(tx)
        .await?;
    Ok(known)
}
