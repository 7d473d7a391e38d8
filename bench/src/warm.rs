use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

use crate::ground::{Ground, PARTITIONS};
use crate::limits::{self, RawRecord};
use crate::{backlog, usage};

/// Threads of a Java virtual machine that compile.
const COMPILERS: &[&str] = &["C1 Compiler", "C2 Compiler"];
/// A pass in which they take less than a twentieth of a core: what is left to compile is nobody's burden.
const QUIET: u32 = 20;
const PASSES: u32 = 20;
/// Of each pass, as a drain writes them.
const RECORDS: usize = 200_000;
/// Of each pass, as they come when somebody writes just now: a few for each partition, hundreds of times a second.
const BURSTS: usize = 1_500;
const PAUSE: Duration = Duration::from_millis(2);
const TOPIC: &str = "warm-up-bursts";

/// Has the broker compile what it needs before anybody is measured beside its compiler, which takes up to half a core in
/// the first minute.
pub(crate) async fn up(ground: &Ground) -> Result<()> {
    let (_, kafka) = ground.servers()?;
    ground.topic(TOPIC).await?;
    let reader = Reader::begin(ground)?;
    let is_warm = passes(ground, kafka).await?;
    drop(reader);
    if !is_warm {
        eprintln!("Kafka still compiles its code: figures are those beside its compiler");
    }
    ground.forget_topic(TOPIC).await
}

/// Whether there was one in which little was compiled.
async fn passes(ground: &Ground, kafka: u32) -> Result<bool> {
    for _ in 0..PASSES {
        let (begun, before) = (Instant::now(), usage::of_threads(kafka, COMPILERS)?);
        limits::raw_producer(ground, RECORDS, RawRecord::WarmUp).await?;
        bursts(ground).await?;
        let compiled = usage::of_threads(kafka, COMPILERS)?.saturating_sub(before);
        if compiled < begun.elapsed() / QUIET {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn bursts(ground: &Ground) -> Result<()> {
    let producer: ThreadedProducer<_> = ClientConfig::new()
        .set("bootstrap.servers", &ground.brokers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "0")
        .create()?;
    tokio::task::spawn_blocking(move || -> Result<()> {
        let payload = backlog::order();
        for _ in 0..BURSTS {
            for partition in 0..PARTITIONS {
                let record = BaseRecord::to(TOPIC)
                    .key("k")
                    .payload(&payload)
                    .partition(partition);
                producer.send(record).map_err(|(error, _)| error)?;
            }
            std::thread::sleep(PAUSE);
        }
        Ok(producer.flush(Duration::from_secs(60))?)
    })
    .await?
}

/// Somebody who reads along, as consumers do, until it is dropped.
struct Reader(Arc<AtomicBool>);

impl Reader {
    fn begin(ground: &Ground) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &ground.brokers)
            .set("group.id", "warm-up")
            .set("auto.offset.reset", "earliest")
            .create()?;
        consumer.subscribe(&[TOPIC])?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        tokio::task::spawn_blocking(move || {
            while !stopped.load(Ordering::Relaxed) {
                // What it misses nobody counts: a topic that was made just now may not be known yet.
                drop(consumer.poll(Duration::from_millis(100)));
            }
        });
        Ok(Self(stop))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
