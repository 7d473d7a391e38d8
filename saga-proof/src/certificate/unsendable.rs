use anyhow::{Context as _, Result, ensure};
use quadrille_process::fault::Point;
use sqlx::PgPool;

use super::path::Path;
use crate::stage::wait::until;

/// What the path is called.
pub(super) const NAME: &str = "unsendable";
/// What is too large, and is discarded in the end.
pub(super) const LARGE: &str = "note.large";
const SMALL: &str = "note.small";
/// Types of events that no service takes part in: those of the path `unsendable`.
pub const UNSENDABLE_TYPES: &[&str] = &[LARGE, SMALL];
/// Points that nothing else passes.
pub(super) const ONLY: &[Point] = &[Point::RelayAfterSetAside, Point::RelayBeforeEndOfReplay];
const ELSE: &[Point] = &[
    Point::RelayBeforeProduce,
    Point::RelayAfterProduce,
    Point::RelayAfterAck,
];
/// More than a topic takes that is not made for it.
const BYTES: usize = 3_000_000;

const APPEND: &str = "select saga.append_event($1, $2, $3, jsonb_build_object('text', $4::text))";
const PARKED: &str = "select count(*) from saga.outbox_parked_event where topic = $1 and key = $2";
const KEY: &str = "select count(*) from saga.outbox_parked_key where topic = $1 and key = $2";
const UNSTORED: &str = "\
select count(*) from saga.outbox_parked_event e, saga.relay r where e.topic = $1 and e.key = $2 and e.win > r.acked_win";
/// As `sagactl outbox discard` and `sagactl outbox replay` do it.
const DISCARD: &str = "\
delete from saga.outbox_parked_event
 where topic = $1 and key = $2 and type = $3 and not exists (
       select 1 from saga.outbox_parked_key k where k.topic = $1 and k.key = $2 and k.replay_win is not null)";
const REPLAY: &str = "update saga.outbox_parked_key set replay_requested = clock_timestamp()
 where topic = $1 and key = $2 and not whole";

/// The path that every system has: not a saga, but an event that no broker takes, and the one behind it.
pub(super) fn path() -> Path {
    let others: Vec<Point> = Point::ALL
        .iter()
        .copied()
        .filter(|point| !ONLY.contains(point) && !ELSE.contains(point))
        .collect();
    let mut path = Path::new(
        NAME,
        "Not a saga: an outbox gets an event that is too large for any broker, and a second one of the same key. The key is parked, \
         the second waits, an operator discards the first and has the second sent.",
    );
    path.passes(ONLY);
    path.spares(&others, "no service takes part in it")
        .and_nothing_else()
}

/// Two events of a key, of which the first cannot be sent; and an operator who mends it.
pub(super) async fn walk(outbox: &PgPool, topic: &str, key: &str) -> Result<()> {
    let count = async |query: &'static str| -> Result<i64> {
        let asked = sqlx::query_scalar(query).bind(topic).bind(key);
        Ok(asked.fetch_one(outbox).await?)
    };
    append(outbox, topic, key, LARGE, BYTES).await?;
    until("the event that cannot be sent to be parked", async || {
        ensure!(count(PARKED).await? == 1, "it is not");
        anyhow::Ok(())
    })
    .await?;
    append(outbox, topic, key, SMALL, 10).await?;
    until("the event behind it to be set aside", async || {
        ensure!(count(PARKED).await? == 2, "it is not");
        anyhow::Ok(())
    })
    .await?;
    // Until then a crash brings back the window that it came in, and with it what was discarded.
    until("the relay to have stored what is behind it", async || {
        ensure!(count(UNSTORED).await? == 0, "it has not");
        anyhow::Ok(())
    })
    .await?;
    let gone = sqlx::query(DISCARD).bind(topic).bind(key).bind(LARGE);
    let gone = gone.execute(outbox).await?.rows_affected();
    ensure!(gone == 1, "{gone} events were discarded");
    let asked = sqlx::query(REPLAY).bind(topic).bind(key);
    let asked = asked.execute(outbox).await.context("ask for a replay")?;
    ensure!(asked.rows_affected() == 1, "the key is not parked any more");
    until("the key to be free", async || {
        let (keys, events) = (count(KEY).await?, count(PARKED).await?);
        ensure!(keys == 0 && events == 0, "{keys} keys and {events} events wait");
        anyhow::Ok(())
    })
    .await
}

async fn append(outbox: &PgPool, topic: &str, key: &str, r#type: &str, bytes: usize) -> Result<()> {
    // Not compressible, should somebody compress.
    let mut text = String::with_capacity(bytes + 36);
    while text.len() < bytes {
        text.push_str(&uuid::Uuid::new_v4().to_string());
    }
    sqlx::query(APPEND)
        .bind(topic)
        .bind(key)
        .bind(r#type)
        .bind(text)
        .execute(outbox)
        .await
        .context("append an event")?;
    Ok(())
}
