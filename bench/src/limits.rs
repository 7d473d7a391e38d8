use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::TryStreamExt as _;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use sqlx::PgPool;
use sqlx::postgres::PgPoolCopyExt as _;
use uuid::Uuid;

use crate::backlog;
use crate::ground::Ground;

/// What the raw producer writes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RawRecord {
    /// What nobody counts.
    WarmUp,
    /// Key and payload.
    Bare,
    /// With the headers of an event, which are as long as its payload.
    Event,
}

/// A raw producer is as fast after two million records as after five.
pub(crate) const MOST_OF_PRODUCER: usize = 2_000_000;

/// So many different events does it write, over and over.
const DIFFERENT: usize = 4096;

/// Records per second that librdkafka writes by itself: idempotent, acks=all.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
pub(crate) async fn raw_producer(ground: &Ground, rows: usize, of: RawRecord) -> Result<f64> {
    let topic = match of {
        RawRecord::WarmUp => "warm-up",
        RawRecord::Bare => "limit-producer-bare",
        RawRecord::Event => "limit-producer",
    };
    ground.topic(topic).await?;
    let producer: ThreadedProducer<_> = ClientConfig::new()
        .set("bootstrap.servers", &ground.brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "5")
        .set("batch.size", "1000000")
        .set("compression.type", ground.compression.name())
        .set("queue.buffering.max.messages", "500000")
        .create()?;
    let elapsed = tokio::task::spawn_blocking(move || -> Result<Duration> {
        // Made before the clock runs, and far more than a compressor looks back.
        let events: Vec<_> = (0..DIFFERENT).map(|n| (backlog::order(), headers(n))).collect();
        let begun = Instant::now();
        for (n, (payload, headers)) in (0..rows).zip(events.iter().cycle()) {
            let key = format!("k{}", n % 10_000);
            let mut record = BaseRecord::to(topic).key(&key).payload(payload);
            if !matches!(of, RawRecord::Bare) {
                record = record.headers(headers.clone());
            }
            while let Err((error, back)) = producer.send(record) {
                if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                    return Err(error.into());
                }
                std::thread::sleep(Duration::from_millis(1));
                record = back;
            }
        }
        producer.flush(Duration::from_secs(120))?;
        Ok(begun.elapsed())
    })
    .await??;
    ground.forget_topic(topic).await?;
    Ok(rows as f64 / elapsed.as_secs_f64())
}

/// Rows per second that PostgreSQL hands out with COPY, unsorted.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
pub(crate) async fn copy_out(pool: &PgPool, rows: usize) -> Result<f64> {
    let begun = Instant::now();
    let mut stream = pool
        .copy_out_raw(
            "copy (select id, aggregatetype, aggregateid, type, payload, position, xid, headers, created_at \
             from saga.outbox) to stdout (format binary)",
        )
        .await?;
    while stream.try_next().await?.is_some() {}
    Ok(rows as f64 / begun.elapsed().as_secs_f64())
}

/// Who writes at the same time, one event in each transaction.
pub(crate) const WRITERS: usize = 16;

/// Transactions of one outbox row per second, by our own client: there is not a pgbench for every machine.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
pub(crate) async fn writers(pool: &PgPool, topic: &str, seconds: u64) -> Result<f64> {
    let done = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + Duration::from_secs(seconds);
    let writers = (0..WRITERS).map(|writer| {
        let (pool, topic, done) = (pool.clone(), topic.to_owned(), Arc::clone(&done));
        tokio::spawn(async move {
            let payload = backlog::order();
            while Instant::now() < end {
                insert(&pool, &topic, &format!("k{writer}"), &payload).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), sqlx::Error>(())
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer??;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / seconds as f64)
}

/// One event in a transaction of its own.
pub(crate) async fn insert(pool: &PgPool, topic: &str, key: &str, payload: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into saga.outbox (id, aggregatetype, aggregateid, type, payload, headers) \
         values (gen_random_uuid(), $1, $2, 'bench.happened', $3, \
                 '{\"content-type\":\"application/json\",\"ce_dataschema\":\"bench.happened/1\"}')",
    )
    .bind(topic)
    .bind(key)
    .bind(payload)
    .execute(pool)
    .await?;
    Ok(())
}

/// About as many and as long as those of an event.
fn headers(n: usize) -> OwnedHeaders {
    let (id, sequence) = (
        Uuid::new_v4().to_string(),
        format!("00000001-0000000000000001-{n:016}"),
    );
    let names = [
        ("ce_specversion", "1.0"),
        ("ce_id", id.as_str()),
        ("ce_source", "/bench"),
        ("ce_type", "bench.happened"),
        ("ce_subject", "k1"),
        ("ce_time", "2026-01-01T12:00:00.000000Z"),
        ("ce_dataschema", "bench.happened/1"),
        ("ce_sequence", sequence.as_str()),
        (
            "ce_previoussequence",
            "00000001-0000000000000001-0000000000000001",
        ),
        ("content-type", "application/json"),
    ];
    names.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
        all.insert(Header {
            key,
            value: Some(*value),
        })
    })
}
