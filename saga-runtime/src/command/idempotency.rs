//! The first answer to a command is the answer to it, however often it comes.

use std::collections::BTreeMap;

use saga_core::Participant;
use serde::Deserialize as _;
use serde_json::Value;
use sqlx::PgConnection;

use crate::engine::Told;
use crate::engine::batch::{Entry, Idempotency, Origin};
use crate::engine::decide::{Decided, Reply};
use crate::error::Error;

// A concurrent holder of the same key is waited for here.
const CLAIM: &str = "\
insert into saga.command (owner, method, key, fingerprint)
select owner, method, key, fingerprint
  from unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) as c (owner, method, key, fingerprint)
 order by owner, method, key
    on conflict do nothing
returning owner, method, key";

// A statement of its own: the one above does not see what the concurrent holder committed.
const READ: &str = "\
select c.owner, c.method, c.key, c.fingerprint, c.reply from saga.command c
  join unnest($1::text[], $2::text[], $3::text[]) as k (owner, method, key) using (owner, method, key)";

const ANSWER: &str = "\
update saga.command c set reply = a.reply::jsonb
  from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as a (owner, method, key, reply)
 where c.owner = a.owner and c.method = a.method and c.key = a.key";

const FORGET: &str = "\
delete from saga.command c using unnest($1::text[], $2::text[], $3::text[]) as k (owner, method, key)
 where c.owner = k.owner and c.method = k.method and c.key = k.key";

/// The statements of this module.
pub(crate) const STATEMENTS: &[(&str, &str)] = &[
    ("claim", CLAIM),
    ("read", READ),
    ("answer", ANSWER),
    ("forget", FORGET),
];

/// Owner, method, key, fingerprint, reply.
type Stored = (String, String, String, Vec<u8>, Option<Value>);

/// What is known of a batch's commands before they are decided.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Entries that were asked before, with what was stored.
    pub(crate) known: BTreeMap<usize, (Vec<u8>, Option<Value>)>,
    /// Entries that ask the same as an earlier one of this batch.
    pub(crate) followers: BTreeMap<usize, usize>,
}

/// Draws the keys of the batch's commands, and finds those that were used before.
pub(crate) async fn claim<P: Participant>(
    tx: &mut PgConnection,
    entries: &[Entry<P>],
) -> Result<Asked, sqlx::Error> {
    let mut asked = Asked::default();
    let mut first: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for (i, entry) in entries.iter().enumerate() {
        if let Origin::Command(id) = &entry.origin {
            match first.get(&names(id)) {
                Some(leader) => {
                    asked.followers.insert(i, *leader);
                }
                None => {
                    first.insert(names(id), i);
                }
            }
        }
    }
    if first.is_empty() {
        return Ok(asked);
    }
    let (owners, methods, keys) = columns(first.keys().copied());
    let fingerprints: Vec<&[u8]> = first.values().map(|i| fingerprint(&entries[*i])).collect();
    let new: Vec<(String, String, String)> = sqlx::query_as(CLAIM)
        .bind(owners)
        .bind(methods)
        .bind(keys)
        .bind(fingerprints)
        .fetch_all(&mut *tx)
        .await?;
    for (owner, method, key) in &new {
        first.remove(&(owner.as_str(), method.as_str(), key.as_str()));
    }
    if first.is_empty() {
        return Ok(asked);
    }
    let (owners, methods, keys) = columns(first.keys().copied());
    let rows: Vec<Stored> = sqlx::query_as(READ)
        .bind(owners)
        .bind(methods)
        .bind(keys)
        .fetch_all(tx)
        .await?;
    for (owner, method, key, fingerprint, reply) in rows {
        if let Some(i) = first.get(&(owner.as_str(), method.as_str(), key.as_str())) {
            asked.known.insert(*i, (fingerprint, reply));
        }
    }
    Ok(asked)
}

/// Stores what was decided, forgets the keys of what was refused or not reached, and says what each caller
/// is told.
pub(crate) async fn answer<P: Participant>(
    tx: &mut PgConnection,
    entries: &[Entry<P>],
    decided: &Decided<P>,
    asked: Asked,
) -> Result<Vec<(usize, Told<P>)>, Error> {
    let failed = |doing, source| Error::Database {
        participant: P::NAME,
        doing,
        source,
    };
    let mut told: BTreeMap<usize, Told<P>> = BTreeMap::new();
    let mut keep: Vec<(&Idempotency, String)> = Vec::new();
    for (i, reply) in &decided.replies {
        if let (Origin::Command(id), Reply::Done(reply)) = (&entries[*i].origin, reply) {
            let json = serde_json::to_string(reply).map_err(|source| Error::StoredReply {
                participant: P::NAME,
                method: id.method.clone(),
                source,
            })?;
            keep.push((id, json));
        }
        told.insert(*i, Told::Now(reply.clone()));
    }
    let forget: Vec<&Idempotency> = entries
        .iter()
        .enumerate()
        .filter(|(i, _)| !asked.known.contains_key(i) && !asked.followers.contains_key(i))
        .filter_map(|(i, entry)| match &entry.origin {
            Origin::Command(id) if !matches!(told.get(&i), Some(Told::Now(Reply::Done(_)))) => Some(id),
            _ => None,
        })
        .collect();
    for (i, stored) in &asked.known {
        told.insert(*i, again(&entries[*i], stored)?);
    }
    for (follower, leader) in asked.followers {
        // Its leader may have asked something else: what is stored is what counts.
        if let Some(stored) = asked.known.get(&leader) {
            told.insert(follower, again(&entries[follower], stored)?);
            continue;
        }
        let same = fingerprint(&entries[follower]) == fingerprint(&entries[leader]);
        let answer = match told.get(&leader) {
            _ if !same => Told::KeyReused,
            Some(Told::Now(Reply::Done(reply))) => Told::Again(reply.clone()),
            Some(other) => other.clone(),
            None => continue,
        };
        told.insert(follower, answer);
    }
    if !keep.is_empty() {
        let (owners, methods, keys) = columns(keep.iter().map(|(id, _)| names(id)));
        let replies: Vec<&str> = keep.iter().map(|(_, reply)| reply.as_str()).collect();
        sqlx::query(ANSWER)
            .bind(owners)
            .bind(methods)
            .bind(keys)
            .bind(replies)
            .execute(&mut *tx)
            .await
            .map_err(|source| failed("store replies", source))?;
    }
    if !forget.is_empty() {
        let (owners, methods, keys) = columns(forget.into_iter().map(names));
        sqlx::query(FORGET)
            .bind(owners)
            .bind(methods)
            .bind(keys)
            .execute(tx)
            .await
            .map_err(|source| failed("forget the keys of refused commands", source))?;
    }
    Ok(told.into_iter().collect())
}

/// What somebody hears whose key was used before.
fn again<P: Participant>(
    entry: &Entry<P>,
    (used, reply): &(Vec<u8>, Option<Value>),
) -> Result<Told<P>, Error> {
    let (Origin::Command(id), Some(reply)) = (&entry.origin, reply) else {
        return Ok(Told::KeyReused);
    };
    if *used != id.fingerprint {
        return Ok(Told::KeyReused);
    }
    let reply = P::Reply::deserialize(reply).map_err(|source| Error::StoredReply {
        participant: P::NAME,
        method: id.method.clone(),
        source,
    })?;
    Ok(Told::Again(reply))
}

fn names(id: &Idempotency) -> (&str, &str, &str) {
    (&id.owner, &id.method, &id.key)
}

fn fingerprint<P: Participant>(entry: &Entry<P>) -> &[u8] {
    match &entry.origin {
        Origin::Command(id) => &id.fingerprint,
        _ => &[],
    }
}

fn columns<'a>(
    ids: impl Iterator<Item = (&'a str, &'a str, &'a str)>,
) -> (Vec<&'a str>, Vec<&'a str>, Vec<&'a str>) {
    let (mut owners, mut methods, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for (owner, method, key) in ids {
        owners.push(owner);
        methods.push(method);
        keys.push(key);
    }
    (owners, methods, keys)
}
