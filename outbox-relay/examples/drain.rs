//! How fast the relay is on this machine, beside what the machine can do at most.
//!
//! `DATABASE_URL` (a role that may create the schema `saga` in an empty database), `KAFKA_BROKERS`,
//! `EVENTS` (1,000,000), `RATE` (2,000 per second), `SECONDS` (10).
#![allow(
    clippy::unwrap_used,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    missing_docs
)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::TryStreamExt as _;
use outbox_relay::{Options, Relay, migrate};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolCopyExt as _, PgPoolOptions};
use tokio_util::sync::CancellationToken;

/// As the program `outbox-relay` has it.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PARTITIONS: i32 = 12;

struct Bench {
    pool: PgPool,
    database: PgConnectOptions,
    brokers: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let text = |key: &str, default: &str| std::env::var(key).unwrap_or_else(|_| default.to_owned());
    let database: PgConnectOptions = text("DATABASE_URL", "").parse()?;
    let pool = PgPoolOptions::new()
        .max_connections(24)
        .connect_with(database.clone())
        .await?;
    migrate::outbox(&pool).await?;
    let bench = Bench {
        pool,
        database,
        brokers: text("KAFKA_BROKERS", ""),
    };
    let events: usize = text("EVENTS", "1000000").parse()?;
    let rate: u32 = text("RATE", "2000").parse()?;
    let seconds: u32 = text("SECONDS", "10").parse()?;

    let raw = bench.raw_producer(events).await?;
    println!("raw librdkafka producer   {raw:>10.0} events/s");
    for per_transaction in [events, 500] {
        let topic = bench.topic(&format!("drain-{per_transaction}")).await?;
        let written = bench.write(&topic, events, per_transaction).await?;
        let copy = bench.copy_out(events).await?;
        let drained = bench.drain(events).await?;
        println!(
            "{per_transaction} rows per transaction: written {written:.0}/s, COPY out {copy:.0}/s, drained {drained:.0}/s = {:.0} % of the smaller limit",
            100.0 * drained / raw.min(copy)
        );
    }
    bench.latency(rate, seconds).await
}

impl Bench {
    fn kafka(&self) -> Vec<(String, String)> {
        let mut properties = vec![("bootstrap.servers".to_owned(), self.brokers.clone())];
        let more = std::env::var("KAFKA_PROPERTIES").unwrap_or_default();
        let pairs = more.split(',').filter_map(|pair| pair.split_once('='));
        properties.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        properties
    }

    async fn topic(&self, name: &str) -> Result<String> {
        let topic = format!("{name}-{}", std::process::id());
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()?;
        let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
        for made in admin.create_topics([&new], &AdminOptions::new()).await? {
            made.map_err(|(topic, code)| anyhow::anyhow!("creating {topic}: {code}"))?;
        }
        Ok(topic)
    }

    async fn raw_producer(&self, events: usize) -> Result<f64> {
        let topic = self.topic("raw").await?;
        let reported = Arc::new(AtomicUsize::new(0));
        let producer: ThreadedProducer<Count> = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("enable.idempotence", "true")
            .set("queue.buffering.max.messages", "200000")
            .create_with_context(Count(reported.clone()))?;
        let payload = [b'x'; 300];
        let began = Instant::now();
        tokio::task::block_in_place(|| {
            for number in 0..events {
                let key = format!("k{}", number % 5000);
                let mut record = BaseRecord::to(&topic).key(&key).payload(&payload[..]);
                while let Err((KafkaError::MessageProduction(_), again)) = producer.send(record) {
                    record = again;
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            while reported.load(Ordering::Relaxed) < events {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        println!("  the raw producer's CPU: {} ms", cpu().as_millis());
        Ok(events as f64 / began.elapsed().as_secs_f64())
    }

    async fn write(&self, topic: &str, events: usize, per_transaction: usize) -> Result<f64> {
        let began = Instant::now();
        let mut left = events;
        while left > 0 {
            let now = left.min(per_transaction);
            sqlx::query(
                "insert into saga.outbox (id, aggregatetype, aggregateid, type, payload, headers)
                 select gen_random_uuid(), $1, 'k' || (i % 5000), 'order.created', convert_to(repeat('x', 300), 'UTF8'),
                        '{\"content-type\": \"application/json\", \"ce_dataschema\": \"order.created/1\",
                          \"ce_correlationid\": \"018f4e1c-7d2e-7c3a-9a55-0d8f4f3b2a10\",
                          \"ce_causationid\": \"018f4e1c-7d2e-7c3a-9a55-0d8f4f3b2a11\"}'
                   from generate_series(1, $2::bigint) i",
            )
            .bind(topic)
            .bind(i64::try_from(now)?)
            .execute(&self.pool)
            .await?;
            left -= now;
        }
        Ok(events as f64 / began.elapsed().as_secs_f64())
    }

    async fn copy_out(&self, events: usize) -> Result<f64> {
        let began = Instant::now();
        let mut stream = self
            .pool
            .copy_out_raw(
                "copy (select position, id, aggregatetype, aggregateid, type, payload, headers::text, created_at
                         from saga.outbox) to stdout (format binary)",
            )
            .await?;
        let mut bytes = 0;
        while let Some(piece) = stream.try_next().await? {
            bytes += piece.len();
        }
        assert!(bytes > events * 300);
        Ok(events as f64 / began.elapsed().as_secs_f64())
    }

    fn relay(&self) -> (Relay, CancellationToken) {
        let mut options = Options::new(
            "bench".parse().unwrap(),
            self.database.clone().into(),
            self.kafka(),
        );
        let number = |key: &str| std::env::var(key).ok().and_then(|text| text.parse().ok());
        options.chunk_rows = number("CHUNK_ROWS").unwrap_or(options.chunk_rows);
        if let Some(most) = number("IN_FLIGHT") {
            options.in_flight_events = most;
        }
        (Relay::new(options), CancellationToken::new())
    }

    async fn drain(&self, events: usize) -> Result<f64> {
        let before: Option<i64> = sqlx::query_scalar("select acked_highest from saga.relay")
            .fetch_optional(&self.pool)
            .await?;
        let goal: i64 = sqlx::query_scalar("select max(position) from saga.outbox")
            .fetch_one(&self.pool)
            .await?;
        assert_eq!(goal - before.unwrap_or(0), i64::try_from(events)?);
        let (relay, cancel) = self.relay();
        let (began, cpu_before) = (Instant::now(), cpu());
        let task = tokio::spawn(relay.run(cancel.clone()));
        loop {
            let acked: Option<i64> = sqlx::query_scalar("select acked_highest from saga.relay")
                .fetch_optional(&self.pool)
                .await?;
            if acked == Some(goal) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let rate = events as f64 / began.elapsed().as_secs_f64();
        println!("  the relay's CPU: {} ms", (cpu() - cpu_before).as_millis());
        cancel.cancel();
        task.await?;
        sqlx::query("truncate saga.outbox").execute(&self.pool).await?;
        Ok(rate)
    }

    /// From the commit's answer to the consumer's hand, one event per transaction.
    async fn latency(&self, rate: u32, seconds: u32) -> Result<()> {
        const WRITERS: u32 = 8;
        let topic = self.topic("latency").await?;
        let (relay, cancel) = self.relay();
        let task = tokio::spawn(relay.run(cancel.clone()));
        let committed: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let total = rate * seconds / WRITERS * WRITERS;
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", "latency")
            .set("fetch.queue.backoff.ms", "0")
            .set("fetch.wait.max.ms", "50")
            .create()?;
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(&topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        let reading = tokio::task::spawn_blocking(move || {
            let mut seen = Vec::new();
            let mut last = Instant::now();
            while seen.len() <= total as usize && last.elapsed() < Duration::from_secs(15) {
                if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                    last = Instant::now();
                    let headers = message.headers().unwrap();
                    let id = headers.iter().find(|header| header.key == "ce_id").unwrap();
                    seen.push((String::from_utf8_lossy(id.value.unwrap()).into_owned(), last));
                }
            }
            seen
        });
        // The first event waits for the relay to come up and to learn of the topic.
        sqlx::query("select saga.append_event($1, 'warm', 't', '{}')")
            .bind(&topic)
            .execute(&self.pool)
            .await?;
        while sqlx::query_scalar(
            "select count(*) from saga.relay_window where win > (select acked_win from saga.relay)",
        )
        .fetch_one(&self.pool)
        .await
        .map(|open: i64| open > 0)?
            || sqlx::query_scalar(
                "select acked_highest < (select max(position) from saga.outbox) from saga.relay",
            )
            .fetch_one(&self.pool)
            .await?
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut writers = tokio::task::JoinSet::new();
        let cpu_before = cpu();
        for _ in 0..WRITERS {
            let (pool, topic, committed) = (self.pool.clone(), topic.clone(), committed.clone());
            writers.spawn(async move {
                let mut tick = tokio::time::interval(Duration::from_secs(1) * WRITERS / rate);
                for number in 0..total / WRITERS {
                    tick.tick().await;
                    let id: uuid::Uuid = sqlx::query_scalar(
                        "insert into saga.outbox (id, aggregatetype, aggregateid, type, payload)
                         values (gen_random_uuid(), $1, $2, 't', convert_to(repeat('x', 300), 'UTF8')) returning id",
                    )
                    .bind(&topic)
                    .bind(format!("k{number}"))
                    .fetch_one(&pool)
                    .await?;
                    committed.lock().unwrap().insert(id.to_string(), Instant::now());
                }
                anyhow::Ok(())
            });
        }
        while let Some(writer) = writers.join_next().await {
            writer??;
        }
        let seen = reading.await?;
        let committed = committed.lock().unwrap().clone();
        let mut millis: Vec<f64> = seen
            .iter()
            .filter(|(id, _)| committed.contains_key(id))
            .map(|(id, at)| at.saturating_duration_since(committed[id]).as_secs_f64() * 1000.0)
            .collect();
        millis.sort_by(f64::total_cmp);
        let at = |percent: usize| millis[(millis.len() - 1) * percent / 100];
        println!(
            "commit to consumer at {rate}/s: {} events, p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms; {} ms of CPU",
            millis.len(),
            at(50),
            at(90),
            at(99),
            at(100),
            (cpu() - cpu_before).as_millis(),
        );
        cancel.cancel();
        task.await?;
        println!("resident: {}", resident());
        Ok(())
    }
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(')').next().map_or(0, |rest| {
        rest.split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|n| n.parse::<u64>().ok())
            .sum()
    });
    Duration::from_millis(ticks * 10)
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| {
        status
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default()
            .to_owned()
    };
    format!("{} {}", line("VmRSS"), line("VmHWM"))
}

struct Count(Arc<AtomicUsize>);

impl ClientContext for Count {}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        assert!(result.is_ok());
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
