//! A worker: applies the records of its partitions, batch after batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, mpsc};

use quadrille_process::fault::{self, Point};
use quadrille_process::{Health, Status};
use saga_core::{Participant, Position};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::consumer::queue::Receiver;
use crate::consumer::reading::{self, Reading};
use crate::engine::batch::{self, Entry, Origin, What};
use crate::engine::offsets::{self, Place};
use crate::engine::{Applied, Engine};
use crate::error::Backoff;
use crate::metrics as names;
use crate::record::Record;
use crate::store::Store;

/// A topic and the number of a partition.
pub(crate) type Partition = (String, i32);

/// The last position of each outbox in each partition, as it will be once a batch is applied.
type Moved = BTreeMap<Partition, BTreeMap<String, Position>>;

/// What the polling thread tells a worker, in order.
#[derive(Debug)]
pub(crate) enum Message {
    /// These partitions are its own from here on, at these places.
    Assigned(BTreeMap<Partition, Place>),
    /// These are not any more.
    Revoked(Vec<Partition>),
    /// Records, in the order of each partition.
    Records(Vec<Arc<Record>>),
    /// A seek that the worker asked for is done: what comes from here on is from the new place.
    Sought(Partition),
}

/// What a worker asks of the polling thread.
#[derive(Debug)]
pub(crate) enum Order {
    /// Read on from another offset, then say so.
    Seek(Partition, i64),
    /// Read no more of this partition.
    Stop(Partition),
    /// Records below this offset are applied.
    Applied(Partition, i64),
}

struct Worker<P: Participant, S> {
    engine: Arc<Engine<P, S>>,
    pool: PgPool,
    orders: mpsc::Sender<Order>,
    health: Health,
    places: BTreeMap<Partition, Place>,
    /// Records of these are dropped: until a seek is done, or for good.
    deaf: BTreeSet<Partition>,
}

pub(crate) async fn run<P: Participant, S: Store<P>>(
    engine: Arc<Engine<P, S>>,
    pool: PgPool,
    mut inbox: Receiver,
    orders: mpsc::Sender<Order>,
    health: Health,
    stop: CancellationToken,
) {
    let mut worker = Worker {
        engine,
        pool,
        orders,
        health,
        places: BTreeMap::new(),
        deaf: BTreeSet::new(),
    };
    while let Some(message) = inbox.take().await {
        match message {
            Message::Assigned(places) => {
                for partition in places.keys() {
                    worker.deaf.remove(partition);
                }
                worker.places.extend(places);
            }
            Message::Revoked(partitions) => {
                for partition in partitions {
                    worker.places.remove(&partition);
                    worker.deaf.remove(&partition);
                }
            }
            Message::Sought(partition) => {
                worker.deaf.remove(&partition);
            }
            Message::Records(records) => {
                worker.apply(&records, &stop).await;
                inbox.done(&records);
            }
        }
    }
}

impl<P: Participant, S: Store<P>> Worker<P, S> {
    async fn apply(&mut self, records: &[Arc<Record>], stop: &CancellationToken) {
        let (entries, moved) = self.read(records);
        if entries.is_empty() {
            return;
        }
        let of_all = if fault::POSSIBLE {
            batch::about(&entries)
        } else {
            Vec::new()
        };
        let touched: BTreeSet<Partition> = entries.iter().filter_map(|entry| partition_of(entry)).collect();
        let mut expected: BTreeMap<Partition, i64> = touched
            .iter()
            .filter_map(|partition| Some((partition.clone(), self.places.get(partition)?.next_offset)))
            .collect();
        match self.engine.apply(&self.pool, entries, &mut expected, stop).await {
            Applied::Done { .. } => {
                // It cannot fail here.
                fault::reach(Point::ConsumerAfterBatch, || of_all).await.ok();
                for (partition, next_offset) in expected {
                    if let Some(place) = self.places.get_mut(&partition) {
                        place.next_offset = next_offset;
                        place
                            .last
                            .extend(moved.get(&partition).cloned().unwrap_or_default());
                    }
                    self.ask(Order::Applied(partition, next_offset));
                }
            }
            Applied::NotOwner => self.read_again(touched, stop).await,
            // What is left was not applied, and nobody will ask this worker for more.
            Applied::Stopped => self.deaf.extend(touched),
        }
    }

    /// Turns records into entries, against the places as they will be when the ones before are applied.
    fn read(&mut self, records: &[Arc<Record>]) -> (Vec<Entry<P>>, Moved) {
        let mut entries = Vec::with_capacity(records.len());
        let mut ahead: BTreeMap<Partition, Place> = BTreeMap::new();
        let (mut duplicates, mut ignored) = (0, 0);
        for record in records {
            let partition = (record.topic.clone(), record.partition);
            let Some(place) = self.places.get(&partition) else {
                continue;
            };
            if self.deaf.contains(&partition) || record.offset < place.next_offset {
                continue;
            }
            let place = ahead.entry(partition).or_insert_with(|| place.clone());
            match reading::at(&self.engine.participant, &self.engine.prefix, record, place) {
                Reading::Entry(entry) => {
                    match (&entry.what, &entry.origin) {
                        (
                            _,
                            Origin::Record {
                                applied: Some((source, position)),
                                ..
                            },
                        ) => {
                            place.last.insert(source.clone(), *position);
                            ignored += u64::from(matches!(entry.what, What::Pass));
                        }
                        (What::Pass, _) => duplicates += 1,
                        _ => {}
                    }
                    entries.push(entry);
                }
                Reading::Hole {
                    source,
                    last,
                    previous,
                } => self.stop_at_hole(record, &source, last, previous),
            }
        }
        metrics::counter!(names::DUPLICATES, "participant" => P::NAME).increment(duplicates);
        metrics::counter!(names::IGNORED, "participant" => P::NAME).increment(ignored);
        let moved = ahead
            .into_iter()
            .map(|(partition, place)| (partition, place.last))
            .collect();
        (entries, moved)
    }

    fn stop_at_hole(&mut self, record: &Record, source: &str, last: Position, previous: Position) {
        let partition = (record.topic.clone(), record.partition);
        tracing::error!(
            participant = P::NAME, topic = record.topic, partition = record.partition, offset = record.offset, source,
            %last, missing = %previous,
            "records are missing from the log; the partition stops here, since reading on would lose them silently"
        );
        names::partition_stopped(P::NAME, &self.engine.consumer);
        self.health.set(
            "consumer",
            Status::Down(format!(
                "{}/{} lacks records up to {previous}",
                record.topic, record.partition
            )),
        );
        self.ask(Order::Stop(partition.clone()));
        self.deaf.insert(partition);
    }

    /// Another process moved the offset. If it is ours again, or still, we go on from where it is now.
    async fn read_again(&mut self, partitions: BTreeSet<Partition>, stop: &CancellationToken) {
        let wanted: Vec<Partition> = partitions
            .into_iter()
            .filter(|one| self.places.contains_key(one))
            .collect();
        tracing::info!(
            participant = P::NAME,
            partitions = wanted.len(),
            "another process read on; reading places again"
        );
        let mut backoff = Backoff::of_infrastructure();
        loop {
            match offsets::read(&self.pool, &self.engine.consumer, &wanted).await {
                Ok(places) => {
                    for (partition, place) in places {
                        self.deaf.insert(partition.clone());
                        self.ask(Order::Seek(partition.clone(), place.next_offset));
                        self.places.insert(partition, place);
                    }
                    return;
                }
                Err(error) => {
                    tracing::warn!(participant = P::NAME, %error, "cannot read places");
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next_wait()) => {}
                        () = stop.cancelled() => return self.deaf.extend(wanted),
                    }
                }
            }
        }
    }

    fn ask(&self, order: Order) {
        // The polling thread has ended: it needs no orders any more.
        drop(self.orders.send(order));
    }
}

fn partition_of<P: Participant>(entry: &Entry<P>) -> Option<Partition> {
    match &entry.origin {
        Origin::Record { record, .. } => Some((record.topic.clone(), record.partition)),
        _ => None,
    }
}
