use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use quadrille_contracts::{OrderId, order, payment, stock};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Headers as _;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use saga_core::{Event as _, envelope};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// The events of an order that goes well, in their order.
pub(crate) const STAGES: [&str; 5] = [
    order::Created::NAME,
    stock::Reserved::NAME,
    payment::Created::NAME,
    payment::Succeeded::NAME,
    order::Confirmed::NAME,
];
const LAST: usize = STAGES.len() - 1;

/// No saga that works takes so long, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// When each event of each order was in the hands of a consumer. `None`: it was not looked for.
pub(crate) type Stages = [Option<Instant>; STAGES.len()];

/// A consumer that notes when it sees which event of which order, from its start on.
///
/// It also keeps account of the places for orders under way: a place is taken by who orders, and is free again once the
/// order is confirmed.
#[derive(Debug)]
pub(crate) struct Sightings {
    shared: Arc<Shared>,
    places: u32,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    seen: Mutex<HashMap<OrderId, Stages>>,
    /// Closed when there is no use in waiting.
    free: Semaphore,
    trouble: Mutex<Option<String>>,
    stop: AtomicBool,
}

impl Sightings {
    /// Begins to read these topics at their ends; returns once it stands there.
    pub(crate) async fn begin(brokers: &str, topics: Vec<String>, places: usize) -> Result<Self> {
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            free: Semaphore::new(places),
            trouble: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "bench")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("fetch.queue.backoff.ms", "1")
            .create()?;
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let reading = Arc::clone(&shared);
        let reader = tokio::task::spawn_blocking(move || {
            let begun = to_the_ends(&consumer, &topics);
            let stands = begun.is_ok();
            let told = ready.send(begun);
            if stands
                && told.is_ok()
                && let Err(error) = reading.read(&consumer)
            {
                reading.give_up(format!("cannot read what became of orders: {error:#}"));
            }
        });
        is_ready.await.context("the reader of sightings has ended")??;
        Ok(Self {
            shared,
            places: u32::try_from(places)?,
            reader: Some(reader),
        })
    }

    /// Takes a place for an order. It is free again when the order is confirmed.
    pub(crate) async fn take_place(&self) -> Result<()> {
        self.take(1, "no order is confirmed any more").await
    }

    /// Waits until every order that took a place is confirmed.
    pub(crate) async fn all_confirmed(&self) -> Result<()> {
        self.take(self.places, "not every order is confirmed").await
    }

    /// Orders that were confirmed so far.
    pub(crate) fn confirmed(&self) -> usize {
        self.shared
            .seen()
            .values()
            .filter(|stages| stages[LAST].is_some())
            .count()
    }

    /// What was seen of an order that is confirmed.
    pub(crate) fn of(&self, order: OrderId) -> Option<Stages> {
        self.shared.seen().get(&order).copied()
    }

    /// Ends the reader.
    pub(crate) async fn end(mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.await?;
        }
        Ok(())
    }

    async fn take(&self, places: u32, otherwise: &str) -> Result<()> {
        let taken = tokio::time::timeout(PATIENCE, self.shared.free.acquire_many(places)).await;
        match taken {
            Ok(Ok(taken)) => taken.forget(),
            Ok(Err(_)) => bail!(
                "{}",
                lock(&self.shared.trouble)
                    .clone()
                    .unwrap_or_else(|| otherwise.to_owned())
            ),
            Err(_) => bail!("{otherwise}, for {} s", PATIENCE.as_secs()),
        }
        Ok(())
    }
}

impl Drop for Sightings {
    fn drop(&mut self) {
        // The reader looks at it several times a second.
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn read(&self, consumer: &BaseConsumer) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(message) = consumer.poll(Duration::from_millis(100)) else {
                continue;
            };
            let message = message?;
            let now = Instant::now();
            let headers = message.headers().context("an event without headers")?;
            let name = headers
                .iter()
                .find(|header| header.key == envelope::CE_TYPE)
                .and_then(|header| std::str::from_utf8(header.value?).ok())
                .context("an event without a type")?;
            let key = std::str::from_utf8(message.key().unwrap_or_default())?;
            let Some(stage) = STAGES.iter().position(|stage| *stage == name) else {
                let failed = [
                    order::Rejected::NAME,
                    order::Cancelled::NAME,
                    payment::Failed::NAME,
                ];
                ensure!(
                    !failed.contains(&name),
                    "{name} of {key}, whose order is in order"
                );
                continue;
            };
            let order = key.parse()?;
            let mut seen = self.seen();
            let sighting = &mut seen.entry(order).or_default()[stage];
            // A record may come twice; the first one counts.
            if sighting.is_none() {
                *sighting = Some(now);
                if stage == LAST {
                    self.free.add_permits(1);
                }
            }
        }
        Ok(())
    }

    fn give_up(&self, why: String) {
        *lock(&self.trouble) = Some(why);
        self.free.close();
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<OrderId, Stages>> {
        lock(&self.seen)
    }
}

fn to_the_ends(consumer: &BaseConsumer, topics: &[String]) -> Result<()> {
    let answer = Duration::from_secs(10);
    let mut list = TopicPartitionList::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), answer)?;
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            let (_, end) = consumer.fetch_watermarks(topic, partition.id(), answer)?;
            list.add_partition_offset(topic, partition.id(), Offset::Offset(end))?;
        }
    }
    ensure!(list.count() > 0, "the topics have no partitions");
    consumer.assign(&list)?;
    // A poll sets the first fetch off. What it may bring is a late event of an order that was confirmed before.
    consumer.poll(Duration::from_millis(500)).transpose()?;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
