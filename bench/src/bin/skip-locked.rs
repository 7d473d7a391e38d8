//! The relay that most outbox libraries ship, for the benchmark: `skip-locked DATABASE-URL BROKERS WORKERS COMPRESSION`.
//!
//! Each worker takes a batch `for update skip locked`, publishes it, awaits every delivery, deletes the batch and commits.
//! It is written fairly: one statement per step, a librdkafka producer with the guarantees of ours, prepared statements, and
//! no pause while there is work. What it loses, it loses by its protocol.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::Notify;

/// As the relay has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Larger ones are no faster here: each costs one wait for the broker and one for the disk.
const BATCH: i64 = 1000;
/// How long an idle worker waits before it looks again.
const IDLE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(30);

const TAKE: &str = "select position, id::text, aggregatetype, aggregateid, type, payload \
    from saga.outbox order by position limit $1 for update skip locked";
const DELETE: &str = "delete from saga.outbox where position = any($1)";

type Row = (i64, String, String, String, String, Option<Vec<u8>>);

/// Who awaits the deliveries of a batch.
#[derive(Clone, Default)]
struct Deliveries(Arc<Batch>);

#[derive(Default)]
struct Batch {
    outstanding: AtomicUsize,
    failed: AtomicBool,
    done: Notify,
}

impl Deliveries {
    fn expect(&self, records: usize) {
        self.0.outstanding.store(records, Ordering::Relaxed);
    }

    /// Until the last one is delivered. A flush would do, but the client's looks ten times a second only.
    async fn all(&self) -> Result<()> {
        tokio::time::timeout(PATIENCE, self.0.done.notified())
            .await
            .context("deliveries are awaited for too long")?;
        ensure!(
            !self.0.failed.load(Ordering::Relaxed),
            "a record was not delivered"
        );
        Ok(())
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {
        if result.is_err() {
            self.0.failed.store(true, Ordering::Relaxed);
        }
        if self.0.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.done.notify_one();
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, brokers, workers, compression] = &arguments[..] else {
        anyhow::bail!("usage: skip-locked DATABASE-URL BROKERS WORKERS COMPRESSION");
    };
    let workers: usize = workers.parse().context("WORKERS is a number")?;
    let tasks = (0..workers).map(|_| tokio::spawn(work(url.clone(), brokers.clone(), compression.clone())));
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    Ok(())
}

async fn work(url: String, brokers: String, compression: String) -> Result<()> {
    let deliveries = Deliveries::default();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // A batch is handed over within a millisecond, and nothing comes after it that would be worth to wait for.
        .set("linger.ms", "1")
        .set("batch.size", "1000000")
        .set("compression.type", &compression);
    let producer: ThreadedProducer<Deliveries> =
        ThreadedProducer::from_config_and_context(&config, deliveries.clone())?;
    let mut connection = PgConnection::connect(&url).await?;
    loop {
        let mut transaction = connection.begin().await?;
        let rows: Vec<Row> = sqlx::query_as(TAKE)
            .bind(BATCH)
            .fetch_all(&mut *transaction)
            .await?;
        if rows.is_empty() {
            transaction.rollback().await?;
            tokio::time::sleep(IDLE).await;
            continue;
        }
        deliveries.expect(rows.len());
        for row in &rows {
            send(&producer, row)?;
        }
        deliveries.all().await?;
        let positions: Vec<i64> = rows.iter().map(|row| row.0).collect();
        sqlx::query(DELETE)
            .bind(&positions)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
    }
}

fn send(producer: &ThreadedProducer<Deliveries>, (_, id, topic, key, r#type, payload): &Row) -> Result<()> {
    let header = |key, value| Header {
        key,
        value: Some(value),
    };
    let headers = OwnedHeaders::new_with_capacity(2)
        .insert(header("id", id))
        .insert(header("type", r#type));
    let mut record = BaseRecord::to(topic).key(key).headers(headers);
    if let Some(payload) = payload {
        record = record.payload(payload);
    }
    while let Err((error, back)) = producer.send(record) {
        if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
            return Err(error.into());
        }
        std::thread::sleep(Duration::from_millis(1));
        record = back;
    }
    Ok(())
}
