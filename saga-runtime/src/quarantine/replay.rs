//! Replay of parked keys. An operator asks for it with a mark on the key; the service does it, because only
//! the service can decide.

use std::collections::BTreeMap;
use std::sync::Arc;

use saga_core::Participant;
use serde_json::Value;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::consumer::reading;
use crate::engine::batch::Origin;
use crate::engine::{Applied, Engine};
use crate::error::Error;
use crate::record::Record;
use crate::store::Store;

const REQUESTED: &str = "\
select key from saga.parked_key where participant = $1 and replay_requested is not null order by replay_requested limit 100";

const MESSAGES: &str = r#"
select seq, topic, partition, "offset", record_key, headers, payload from saga.parked_message
 where participant = $1 and key = $2 order by seq limit 200"#;

const HOLD: &str = "select 1 from saga.parked_key where participant = $1 and key = $2 for update";

const RELEASE: &str = "\
delete from saga.parked_key k where participant = $1 and key = $2
   and not exists (select 1 from saga.parked_message m where m.participant = k.participant and m.key = k.key)";

const REFUSE: &str =
    "update saga.parked_key set replay_requested = null, reason = $3 where participant = $1 and key = $2";

const COUNT: &str = "select count(*) from saga.parked_key where participant = $1";

/// The statements of this module.
pub(crate) const STATEMENTS: &[(&str, &str)] = &[
    ("requested", REQUESTED),
    ("messages", MESSAGES),
    ("hold", HOLD),
    ("release", RELEASE),
    ("refuse", REFUSE),
    ("count", COUNT),
];

type Row = (i64, String, i32, i64, Option<Vec<u8>>, Value, Option<Vec<u8>>);

/// Replays every key that an operator asked for.
pub(crate) async fn run<P: Participant, S: Store<P>>(
    engine: &Engine<P, S>,
    pool: &PgPool,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let failed = |source| engine.failed("read the quarantine", source);
    let keys: Vec<String> = sqlx::query_scalar(REQUESTED)
        .bind(P::NAME)
        .fetch_all(pool)
        .await
        .map_err(failed)?;
    for key in keys {
        if stop.is_cancelled() {
            return Ok(());
        }
        replay(engine, pool, &key, stop).await?;
    }
    Ok(())
}

async fn replay<P: Participant, S: Store<P>>(
    engine: &Engine<P, S>,
    pool: &PgPool,
    key: &str,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let failed = |source| engine.failed("read the quarantine", source);
    let mut done = 0;
    loop {
        let rows: Vec<Row> = sqlx::query_as(MESSAGES)
            .bind(P::NAME)
            .bind(key)
            .fetch_all(pool)
            .await
            .map_err(failed)?;
        let Some(first) = rows.first().map(|row| row.0) else {
            break;
        };
        let entries = rows
            .into_iter()
            .map(|(seq, topic, partition, offset, record_key, headers, payload)| {
                let record = Arc::new(Record {
                    topic,
                    partition,
                    offset,
                    timestamp_ms: None,
                    key: record_key,
                    headers: Record::headers_from_json(&headers),
                    payload,
                });
                let mut entry = reading::entry::<P>(&engine.participant, &engine.prefix, &record);
                // Its position is old news to the partition; it counts because it is in the quarantine.
                entry.origin = Origin::Parked {
                    record,
                    key: key.to_owned(),
                    seq,
                };
                entry
            })
            .collect();
        if !matches!(
            engine.apply(pool, entries, &mut BTreeMap::new(), stop).await,
            Applied::Done { .. }
        ) {
            return Ok(());
        }
        let left: Vec<Row> = sqlx::query_as(MESSAGES)
            .bind(P::NAME)
            .bind(key)
            .fetch_all(pool)
            .await
            .map_err(failed)?;
        if left.first().is_some_and(|row| row.0 == first) {
            let why = "replayed, and its first message is still refused; see 'sagactl parked show'";
            sqlx::query(REFUSE)
                .bind(P::NAME)
                .bind(key)
                .bind(why)
                .execute(pool)
                .await
                .map_err(failed)?;
            tracing::warn!(participant = P::NAME, key, "a replayed key is still refused");
            return Ok(());
        }
        done += 1;
    }
    let mut tx = pool.begin().await.map_err(failed)?;
    sqlx::query(HOLD)
        .bind(P::NAME)
        .bind(key)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    // A statement of its own, after the lock: it sees what a batch added while we waited for it.
    let released = sqlx::query(RELEASE)
        .bind(P::NAME)
        .bind(key)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    if released.rows_affected() == 1 {
        tracing::info!(
            participant = P::NAME,
            key,
            batches = done,
            "replayed a parked key"
        );
        engine.effects.notify_one();
    }
    Ok(())
}

/// Looks for requests, and counts what is parked, until it is told to stop.
pub(crate) async fn serve<P: Participant, S: Store<P>>(
    engine: Arc<Engine<P, S>>,
    pool: PgPool,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        if let Err(error) = run(&engine, &pool, &stop).await {
            tracing::warn!(
                participant = P::NAME,
                error = error.chain(),
                "cannot replay parked keys"
            );
        }
        let parked: Result<i64, sqlx::Error> = sqlx::query_scalar(COUNT).bind(P::NAME).fetch_one(&pool).await;
        if let Ok(parked) = parked {
            #[allow(clippy::cast_precision_loss)]
            metrics::gauge!(crate::metrics::PARKED_KEYS, "participant" => P::NAME).set(parked as f64);
        }
        tokio::select! {
            () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
            () = stop.cancelled() => {}
        }
    }
}
