use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _};
use sqlx::PgPool;
use tokio::sync::Semaphore;

use crate::ground::Ground;
use crate::report::Report;
use crate::sample::Sample;
use crate::{backlog, limits};

const TOPIC: &str = "latency";
/// What the relay calls the outbox.
const SOURCE: &str = "bench";

/// A relay process, ours or a peer, ended when it is dropped.
pub(crate) struct Spawned(Child);

impl Spawned {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What a relay promises to consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publishing {
    /// Duplicates have known positions.
    AtLeastOnce,
    /// In Kafka transactions.
    Once,
}

/// The relay, in a process of its own.
pub(crate) fn spawn_relay(ground: &Ground, url: &str, publishing: Publishing) -> Result<Spawned> {
    spawn(&mut relay(ground, url, publishing))
}

fn relay(ground: &Ground, url: &str, publishing: Publishing) -> Command {
    let mut command = Command::new(ground.programs.join("outbox-relay"));
    command
        .env("RELAY_SOURCES", format!("{SOURCE}={url}"))
        .env("RELAY_KAFKA_BROKERS", &ground.brokers)
        .env(
            "RELAY_KAFKA_PROPERTIES",
            format!("compression.type={}", ground.compression.name()),
        )
        .env("RELAY_LOG", "warn");
    if publishing == Publishing::Once {
        let database = url.rsplit('/').next().unwrap_or_default();
        command.env("RELAY_TRANSACTIONAL_ID_PREFIX", format!("of-{database}"));
    }
    command
}

/// Where the relay hears writers that ring, as those of the engine do after a commit.
pub(crate) struct Doorbell(UdpSocket);

impl Doorbell {
    fn at(relay: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(relay)?;
        Ok(Self(socket))
    }

    /// A hint, which may get lost.
    fn ring(&self) {
        self.0.send(SOURCE.as_bytes()).ok();
    }
}

/// A program that is measured.
pub(crate) fn spawn(command: &mut Command) -> Result<Spawned> {
    let child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    Ok(Spawned(child))
}

/// From just before a transaction of one event to the consumer that has its record in hand, so the commit itself
/// is in it.
#[allow(clippy::float_arithmetic)]
pub(crate) async fn measure(ground: &Ground, seconds: u64, report: &mut Report) -> Result<()> {
    let (url, pool) = ground.outbox("latency").await?;
    ground.topic(TOPIC).await?;
    let [port] = local_stack::free_ports()?;
    let hears = SocketAddr::from(([127, 0, 0, 1], port));
    let mut command = relay(ground, &url, Publishing::AtLeastOnce);
    let relay = spawn(command.env("RELAY_DOORBELL_LISTEN", hears.to_string()))?;
    report.say("how much our own client writes with the relay at work");
    let most = limits::writers(&pool, TOPIC, seconds.min(10)).await?;
    report.add("relay.latency.most", most, "tx/s");

    let half = (most / 2.0).min(10_000.0);
    for (label, rate) in [("500", 500.0), ("2000", 2000.0), ("half", half)] {
        if rate > most {
            report.say(&format!(
                "{rate} events a second are more than this machine writes; left out"
            ));
            continue;
        }
        for (label, bell) in [
            (label.to_owned(), None),
            (format!("{label}.rung"), Some(Doorbell::at(hears)?)),
        ] {
            report.say(&format!("latency at {rate:.0} events a second: {label}"));
            let mut paced = paced(ground, &pool, (TOPIC, TOPIC), bell, rate, seconds).await?;
            report.say(&format!("{} events", paced.seen.len()));
            for (name, percent, mark) in [("p50", 50, 5.0), ("p99", 99, 15.0)] {
                let value = paced.seen.percentile_ms(percent);
                report.compare(format!("relay.latency.{name}@{label}"), value, "ms", mark, "mark");
                let commit = paced.committed.percentile_ms(percent);
                report.add(format!("relay.latency.commit.{name}@{label}"), commit, "ms");
            }
        }
    }
    drop(relay);
    Ok(())
}

/// How long each event of a paced run took, from when it was to be written.
pub(crate) struct Paced {
    /// Until a consumer had it.
    pub(crate) seen: Sample,
    /// Until its writer's commit returned: the part of it that is the database's alone.
    pub(crate) committed: Sample,
}

/// Transactions of one event for the topic `to`, at a pace; how long until each was read from the topic `from`.
pub(crate) async fn paced(
    ground: &Ground,
    pool: &PgPool,
    (to, from): (&'static str, &'static str),
    bell: Option<Doorbell>,
    rate: f64,
    seconds: u64,
) -> Result<Paced> {
    let committed = Arc::new(Mutex::new(Sample::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let reader = read(ground, from, Arc::clone(&stop)).await?;
    let (slots, bell) = (Arc::new(Semaphore::new(24)), Arc::new(bell));
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let (mut owed, mut key) = (0.0, 0_u64);
    for _ in 0..seconds * 200 {
        ticks.tick().await;
        #[allow(clippy::float_arithmetic)]
        {
            owed += rate / 200.0;
        }
        while owed >= 1.0 {
            #[allow(clippy::float_arithmetic)]
            {
                owed -= 1.0;
            }
            key += 1;
            let (pool, slots, bell) = (pool.clone(), Arc::clone(&slots), Arc::clone(&bell));
            // The clock of an event runs from when it was to be written: a writer that waits for a connection
            // does not make the figure better.
            let (due, committed) = (Instant::now(), Arc::clone(&committed));
            let payload = backlog::order_placed_at(now_us());
            tokio::spawn(async move {
                let _slot = slots.acquire_owned().await;
                if let Err(error) = limits::insert(&pool, to, &format!("k{}", key % 1000), &payload).await {
                    eprintln!("a writer failed: {error}");
                }
                if let Some(bell) = &*bell {
                    bell.ring();
                }
                let took = due.elapsed();
                committed.lock().unwrap_or_else(PoisonError::into_inner).add(took);
            });
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    let seen = reader.await??;
    let committed = std::mem::take(&mut *committed.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Paced { seen, committed })
}

/// Reads what comes from now on. Returns when it is in place.
async fn read(
    ground: &Ground,
    topic: &'static str,
    stop: Arc<AtomicBool>,
) -> Result<tokio::task::JoinHandle<Result<Sample>>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &ground.brokers)
        .set("group.id", format!("bench-{}", uuid::Uuid::new_v4()))
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "1")
        .set("fetch.wait.max.ms", "100")
        .create()?;
    let ends = {
        let mut list = rdkafka::TopicPartitionList::new();
        for partition in 0..crate::ground::PARTITIONS {
            let (_, end) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(5))?;
            list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(end))?;
        }
        list
    };
    consumer.assign(&ends)?;
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let task = tokio::task::spawn_blocking(move || {
        let mut sample = Sample::default();
        // What was written before stands behind us; the first polls fetch the leaders.
        for _ in 0..20 {
            drop(consumer.poll(Duration::from_millis(50)));
        }
        ready
            .send(())
            .map_err(|()| anyhow::anyhow!("nobody waits for the reader"))?;
        while !stop.load(Ordering::Relaxed) {
            let Some(message) = consumer.poll(Duration::from_millis(50)) else {
                continue;
            };
            let message = message?;
            let now = now_us();
            // Orders of writers who were counted before may still come; they do not say when.
            if let Some(placed) = message.payload().and_then(backlog::placed_at) {
                sample.add(Duration::from_micros(now.saturating_sub(placed)));
            }
        }
        Ok(sample)
    });
    is_ready.await.context("the reader ended")?;
    Ok(task)
}

pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
