use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use outbox_relay::growth;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::checker::{Checker, Reader, Record};
use super::support::{Outbox, PATIENCE, Running, append, eventually};
use super::writers::Writers;

const OLD: i32 = 2;
const NEW: i32 = 6;

const WRITERS: Writers = Writers {
    tasks: 4,
    transactions: 40,
    keys: 20,
    seed: 23,
};

/// A consumer group whose members share what they have applied, and are not equally fast.
struct Group {
    name: String,
    applied: Arc<Mutex<Checker>>,
    beyond_old: Arc<Mutex<usize>>,
    stop: CancellationToken,
    members: Vec<JoinHandle<Result<()>>>,
}

impl Group {
    fn new(outbox: &Outbox) -> Self {
        Self {
            name: format!("{}-group", outbox.name),
            applied: Arc::default(),
            beyond_old: Arc::default(),
            stop: CancellationToken::new(),
            members: Vec::new(),
        }
    }

    fn client(&self, outbox: &Outbox) -> Result<BaseConsumer> {
        Ok(ClientConfig::new()
            .set("bootstrap.servers", &outbox.servers.kafka_brokers)
            .set("group.id", &self.name)
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "10")
            .set("fetch.queue.backoff.ms", "0")
            .set("topic.metadata.refresh.interval.ms", "500")
            .create()?)
    }

    /// A member that reads some partitions, and takes so long for each record.
    fn member(
        &mut self,
        outbox: &Outbox,
        topic: &str,
        partitions: std::ops::Range<i32>,
        each: Duration,
    ) -> Result<()> {
        let consumer = Arc::new(self.client(outbox)?);
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        let (applied, beyond_old) = (self.applied.clone(), self.beyond_old.clone());
        let (stop, topic) = (self.stop.clone(), topic.to_owned());
        self.members.push(tokio::spawn(async move {
            while !stop.is_cancelled() {
                let polling = consumer.clone();
                let polled = tokio::task::spawn_blocking(move || {
                    let message = polling.poll(Duration::from_millis(50))?;
                    Some(message.map(|message| {
                        let record = Record {
                            partition: message.partition(),
                            key: String::from_utf8_lossy(message.key().unwrap()).into_owned(),
                            payload: message.payload().map(<[u8]>::to_vec),
                            headers: message
                                .headers()
                                .into_iter()
                                .flat_map(|headers| headers.iter())
                                .map(|one| (one.key.to_owned(), one.value.unwrap_or_default().to_vec()))
                                .collect(),
                        };
                        (record, message.offset() + 1)
                    }))
                });
                let (record, next) = match polled.await? {
                    None => continue,
                    Some(Ok(read)) => read,
                    // Partitions that the client does not know of yet.
                    Some(Err(KafkaError::MessageConsumption(_))) => continue,
                    Some(Err(error)) => return Err(error.into()),
                };
                tokio::time::sleep(each).await;
                applied.lock().await.see(&record)?;
                if record.partition >= OLD {
                    *beyond_old.lock().await += 1;
                }
                let mut done = TopicPartitionList::new();
                done.add_partition_offset(&topic, record.partition, Offset::Offset(next))?;
                consumer.commit(&done, CommitMode::Async)?;
            }
            Ok(())
        }));
        Ok(())
    }

    /// Waits until all is applied, each key's versions in their order.
    async fn finish(self, expected: &BTreeMap<String, i64>) -> Result<usize> {
        let total = usize::try_from(expected.values().sum::<i64>())?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.applied.lock().await.count < total && !self.members.iter().any(JoinHandle::is_finished) {
            ensure!(tokio::time::Instant::now() < deadline, "not all of it came");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.stop.cancel();
        for member in self.members {
            member.await??;
        }
        for (key, versions) in &self.applied.lock().await.taken {
            let ascending: Vec<i64> = (1..=expected[key]).collect();
            ensure!(*versions == ascending, "key {key} was applied as {versions:?}");
        }
        Ok(*self.beyond_old.lock().await)
    }

    /// Says to the broker that so much of each old partition is read.
    fn tell(&self, outbox: &Outbox, topic: &str, next: impl Fn(i64) -> i64) -> Result<()> {
        let client = self.client(outbox)?;
        let mut list = TopicPartitionList::new();
        for partition in 0..OLD {
            let (_, end) = client.fetch_watermarks(topic, partition, PATIENCE)?;
            list.add_partition_offset(topic, partition, Offset::Offset(next(end)))?;
        }
        Ok(client.commit(&list, CommitMode::Sync)?)
    }
}

/// A member that reads an old partition is slow, one that reads the new ones is not: without the barrier it would be
/// ahead of it with the same keys.
#[tokio::test(flavor = "multi_thread")]
async fn keys_keep_their_order_while_a_topic_grows() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", OLD, &[]).await?;
    let mut group = Group::new(&outbox);
    group.member(&outbox, &topic, 0..OLD, Duration::from_millis(30))?;
    let mut options = outbox.relay("a");
    options.grow_within = PATIENCE;
    let relay = Running::start(options);
    WRITERS.write(&outbox, &topic).await?;

    let asks = outbox.relay("asks");
    let known = [group.name.clone()];
    eventually("the group is known", || async {
        growth::look(&asks, &topic).await.unwrap().readers == known
    })
    .await;
    growth::add_partitions(&asks, &topic, usize::try_from(NEW)?).await?;
    group.member(&outbox, &topic, OLD..NEW, Duration::ZERO)?;
    // More than the slow member takes in the meantime.
    WRITERS.write_more(&outbox, &topic).await?;
    ensure!(growth::ask(&asks, &topic, NEW, &known).await?);
    let mut expected = WRITERS.write_more(&outbox, &topic).await?;
    eventually("it has grown", || async {
        let spread = growth::spread(&asks, &topic).await.unwrap().unwrap();
        (spread.partitions, spread.wanted) == (NEW, None)
    })
    .await;
    expected.extend(WRITERS.write_more(&outbox, &topic).await?);
    let in_new_ones = group.finish(&expected).await?;
    ensure!(in_new_ones > 0, "nothing went to the new partitions");
    ensure!(
        !growth::ask(&asks, &topic, NEW, &known).await?,
        "there is nothing to ask for"
    );
    relay.stop().await;
    Ok(())
}

/// Events wait for a bounded time only, and whoever asked is told whom the topic waits for.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_does_not_read_holds_nothing_up() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", OLD, &[]).await?;
    let group = Group::new(&outbox);
    let mut options = outbox.relay("a");
    options.grow_within = Duration::from_millis(300);
    let relay = Running::start(options);
    let mut writer = outbox.connect("it").await?;
    let reader = Reader::new(&outbox, &topic, OLD)?;
    append(&mut writer, &topic, "k", "t", Some(b"1"), "{}").await?;
    reader.take(1).await;
    group.tell(&outbox, &topic, |_| 0)?;

    let asks = outbox.relay("asks");
    let known = growth::look(&asks, &topic).await?.readers;
    ensure!(known == [group.name.clone()], "{known:?}");
    ensure!(growth::ask(&asks, &topic, NEW, &known).await?);
    note(&asks, &topic, "the broker has 2 partitions of it").await;
    growth::add_partitions(&asks, &topic, usize::try_from(NEW)?).await?;
    let lacks = format!(
        "group {} has 1 records to read, most of them in partition",
        group.name
    );
    note(&asks, &topic, &lacks).await;
    append(&mut writer, &topic, "k", "t", Some(b"2"), "{}").await?;
    reader.take(1).await;

    group.tell(&outbox, &topic, |end| end)?;
    eventually("it has grown", || async {
        growth::spread(&asks, &topic).await.unwrap().unwrap().partitions == NEW
    })
    .await;
    relay.stop().await;
    Ok(())
}

/// The next owner finds the wish, and what is on its way belongs to the old partitions.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_before_the_barrier_moves_nothing() -> Result<()> {
    let outbox = Outbox::new().await?;
    let topic = outbox.create_topic("events", OLD, &[]).await?;
    let group = Group::new(&outbox);
    let mut options = outbox.relay("a");
    options.grow_within = PATIENCE;
    let relay = Running::start(options);
    WRITERS.write(&outbox, &topic).await?;
    eventually("all is acknowledged", || async {
        relay.handle.oldest_unpublished().is_zero()
    })
    .await;
    group.tell(&outbox, &topic, |end| end - 1)?;
    let asks = outbox.relay("asks");
    growth::add_partitions(&asks, &topic, usize::try_from(NEW)?).await?;
    ensure!(growth::ask(&asks, &topic, NEW, std::slice::from_ref(&group.name)).await?);
    note(&asks, &topic, "events wait until").await;
    let expected = WRITERS.write_more(&outbox, &topic).await?;
    relay.kill().await;
    let spread = growth::spread(&asks, &topic).await?.unwrap();
    ensure!((spread.partitions, spread.wanted) == (OLD, Some(NEW)));

    group.tell(&outbox, &topic, |end| end)?;
    let relay = Running::start(outbox.relay("b"));
    eventually("it has grown", || async {
        // What the next owner published first has to be read, too.
        group.tell(&outbox, &topic, |end| end).unwrap();
        growth::spread(&asks, &topic).await.unwrap().unwrap().partitions == NEW
    })
    .await;
    let reader = Reader::new(&outbox, &topic, NEW)?;
    let total = usize::try_from(expected.values().sum::<i64>())?;
    let mut checker = Checker::default();
    while checker.count < total {
        checker.see(&reader.take(1).await[0])?;
    }
    for (key, mut versions) in checker.taken {
        // Partitions are read in no order. Each version once is as many as there are.
        versions.sort_unstable();
        let ascending: Vec<i64> = (1..=expected[&key]).collect();
        ensure!(versions == ascending, "key {key}: {versions:?}");
    }
    relay.stop().await;
    Ok(())
}

async fn note(asks: &outbox_relay::Options, topic: &str, begins: &str) {
    eventually(begins, || async {
        let spread = growth::spread(asks, topic).await.unwrap().unwrap();
        spread.note.is_some_and(|note| note.starts_with(begins))
    })
    .await;
}
