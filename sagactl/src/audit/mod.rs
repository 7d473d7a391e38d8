//! The audit: from outbox positions, topics and tables, whether anything was lost, reordered, left without effect,
//! unbalanced, or waits for longer than it may.
//!
//! It looks at a system that runs. So it takes a bound first and judges nothing that moves: where everybody stands in
//! the topics is read before the tables, and the topics are read after the relay has published what the tables spoke
//! of. What then does not add up is looked at again before it is called a discrepancy.
//!
//! Memory is that of one slice of the orders; a longer time has more slices, and the topics are read once for each.

/// What is wrong.
mod finding;
/// Shelves.
mod goods;
/// What is known of one order.
mod life;
/// The topics.
mod log;
/// Orders of which a topic holds records in several partitions.
mod moved;
/// The whole of it, for people and for scripts.
mod report;
/// What has to be true of an order.
mod rules;
/// Which part of the topics is looked at.
mod stretch;
/// The services' tables.
mod tables;
/// In which order an order's events were told.
mod told;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use quadrille_process::kafka::KafkaSettings;
use uuid::Uuid;

pub use finding::{Class, Finding};
pub use goods::Shelf;
pub use rules::payment_fits;

pub(crate) use report::Report;

use finding::Findings;
use life::{Life, Notes, READERS, TOPICS};
use log::Reading;
use rules::{Verdict, judge};
use stretch::Stretch;
use tables::{Lives, OnTheWay, Slice};

use crate::failure::{Code, Failure};
use crate::ops::{Ops, Service};

/// Every statement of the audit that any service's database answers.
pub(crate) const STATEMENTS: &[(&str, &str)] = tables::STATEMENTS;

/// Statements on the tables of services, by service and name.
pub(crate) fn of_services() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    [tables::OF_SERVICES, goods::OF_SERVICES]
        .into_iter()
        .flatten()
        .copied()
}

/// So many orders are looked up in one statement.
const AT_ONCE: usize = 5_000;

/// So many are looked at a second time.
const SUSPECTS_MAX: usize = 10_000;

/// The clocks of the broker and of the services may differ by less than this.
const SKEW: TimeDelta = TimeDelta::seconds(60);

/// How it is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// How far back; everything that the topics hold if there is no bound.
    pub(crate) back: Option<TimeDelta>,
    /// What may be late by so much is not overdue.
    pub(crate) grace: TimeDelta,
    /// How long what moves is waited for.
    pub(crate) patience: Duration,
    /// So many orders are kept in memory, about.
    pub(crate) orders_at_once: u32,
}

/// Looks at everything.
///
/// # Errors
/// If a database or the broker does not answer: half an audit is none.
pub(crate) async fn run(ops: &mut Ops, kafka: &KafkaSettings, options: &Options) -> Result<Report, Failure> {
    let begun = Instant::now();
    let until = Utc::now();
    for service in &mut ops.services {
        let failed = service.failed("begin the audit");
        tables::be_patient(&mut service.connection)
            .await
            .map_err(failed)?;
    }
    let stretch = stretch::stretch(kafka, options.back.map(|back| until - back)).await?;
    let gone = stretch.whole_since(kafka).await?;
    let since = gone.map_or(DateTime::UNIX_EPOCH, |gone| gone + SKEW);
    let slices = slices(&stretch, options.orders_at_once);
    let mut audit = Audit {
        ops,
        kafka,
        options,
        since,
        report: Report::new(until, gone, slices),
    };
    for number in 0..slices {
        audit.slice(&stretch, Slice { of: slices, number }).await?;
    }
    audit.overdue().await?;
    audit.shelves().await?;
    audit.people().await?;
    audit.report.took = begun.elapsed();
    Ok(audit.report)
}

/// Where each partition begins, or where it was then: by the index of its topic in the registry.
///
/// # Errors
/// If no broker answers.
pub(crate) async fn begins(
    kafka: &KafkaSettings,
    since: Option<DateTime<Utc>>,
) -> Result<BTreeMap<(usize, i32), i64>, Failure> {
    let stretch = stretch::stretch(kafka, since).await?;
    Ok(stretch
        .parts
        .into_iter()
        .map(|(at, part)| (at, part.begin))
        .collect())
}

/// An order has two records in its own topic at the least, so there are no more orders than half of them.
fn slices(stretch: &Stretch, at_once: u32) -> u32 {
    let orders = u64::try_from(stretch.records_of(0)).unwrap_or(0).div_ceil(2);
    let needed = orders.div_ceil(u64::from(at_once.max(1))).max(1);
    u32::try_from(needed.min(256)).unwrap_or(256)
}

struct Audit<'a> {
    ops: &'a mut Ops,
    kafka: &'a KafkaSettings,
    options: &'a Options,
    /// Orders that were placed since then have all of their events in the topics.
    since: DateTime<Utc>,
    report: Report,
}

/// Where everybody stands: by index of [`READERS`] and of its topic, and by partition.
#[derive(Debug, Default)]
struct Places(BTreeMap<(usize, usize), Vec<i64>>);

impl Places {
    /// Whether somebody has yet to read an event of this order.
    fn is_unread(&self, life: &Life) -> bool {
        READERS.iter().enumerate().any(|(reader, (_, topics))| {
            topics.iter().any(|topic| {
                let last = life.next[*topic];
                let Some(places) = self.0.get(&(reader, *topic)).filter(|_| last.is_somewhere()) else {
                    return false;
                };
                places
                    .get(last.partition())
                    .is_none_or(|place| *place < last.next())
            })
        })
    }

    /// How many records are still to be read, by all readers together.
    fn unread(&self, stretch: &Stretch) -> i64 {
        let mut unread = 0;
        for ((_, topic), places) in &self.0 {
            for (partition, place) in (0..).zip(places) {
                let end = stretch.parts.get(&(*topic, partition)).map_or(0, |part| part.end);
                unread += (end - (*place).max(0)).max(0);
            }
        }
        unread
    }
}

impl Audit<'_> {
    /// Audits a slice of the orders; the first one the partitions, too.
    async fn slice(&mut self, stretch: &Stretch, slice: Slice) -> Result<(), Failure> {
        let places = self.places(stretch).await?;
        let mut reading = Reading::of(slice);
        self.orders(&mut reading.lives, slice).await?;
        let ids: Vec<Uuid> = reading.lives.keys().copied().collect();
        self.states(&mut reading.lives, &ids).await?;
        let on_the_way = self.outboxes(stretch, &mut reading).await?;

        let stretch = stretch.longer(self.kafka).await?;
        let mut reading = log::read(self.kafka, &stretch, reading).await?;
        // Those that were placed before, or meanwhile, or of which no table knows.
        let strangers: Vec<Uuid> = reading
            .lives
            .iter()
            .filter(|(_, life)| !life.notes.has(Notes::LOOKED_UP))
            .map(|(id, _)| *id)
            .collect();
        self.look_up(&mut reading.lives, &strangers).await?;

        let mut suspects = Lives::new();
        let mut wrong = Findings::default();
        for (id, life) in std::mem::take(&mut reading.lives) {
            self.report.orders += 1;
            match judge(&id.to_string(), &life, places.is_unread(&life)) {
                Verdict::Right => {}
                Verdict::Moves => self.report.moving += 1,
                Verdict::Parked => self.report.parked_orders += 1,
                Verdict::Discarded => self.report.discarded_orders += 1,
                Verdict::Wrong(_) if suspects.len() < SUSPECTS_MAX => {
                    suspects.insert(id, life);
                }
                Verdict::Wrong(findings) => wrong.extend(findings),
            }
        }
        if slice.number == 0 {
            self.report.on_the_way = on_the_way;
            self.report.unread = places.unread(&stretch);
            self.report.tally = reading.tally;
            for (topic, position) in &reading.expected {
                wrong.add(Finding::new(
                    Class::Lost,
                    "not_in_topic",
                    topic.clone(),
                    format!("what stands at {position} of the outbox is acknowledged, and not in the topic"),
                ));
            }
        }
        reading.lives = suspects;
        reading.known_only = true;
        let (reading, confirmed) = self.look_again(reading, stretch).await?;
        wrong.extend(confirmed);
        if slice.number == 0 {
            self.report.findings.join(reading.of_partitions);
        }
        self.report.findings.join(reading.of_orders);
        self.report.findings.join(wrong);
        Ok(())
    }

    /// What does not add up may have moved while the databases were read one after another. Looks until it adds up, or
    /// nothing of it moves.
    async fn look_again(
        &mut self,
        mut reading: Reading,
        mut stretch: Stretch,
    ) -> Result<(Reading, Vec<Finding>), Failure> {
        let mut confirmed = Vec::new();
        let begun = Instant::now();
        while !reading.lives.is_empty() {
            let places = self.places(&stretch).await?;
            let ids: Vec<Uuid> = reading.lives.keys().copied().collect();
            for life in reading.lives.values_mut() {
                life.forget_states();
            }
            self.look_up(&mut reading.lives, &ids).await?;
            self.outboxes(&stretch, &mut reading).await?;
            stretch = stretch.go_on(self.kafka).await?;
            reading = log::read(self.kafka, &stretch, reading).await?;
            // The outboxes spoke of others, too.
            reading.lives.retain(|_, life| life.notes.has(Notes::LOOKED_UP));
            let mut still = Vec::new();
            reading.lives.retain(
                |id, life| match judge(&id.to_string(), life, places.is_unread(life)) {
                    Verdict::Wrong(findings) => {
                        still.extend(findings);
                        true
                    }
                    Verdict::Moves if begun.elapsed() < self.options.patience => true,
                    Verdict::Moves | Verdict::Right | Verdict::Parked | Verdict::Discarded => false,
                },
            );
            // It was wrong twice with nothing of it on its way: it will not change by itself.
            if begun.elapsed() >= self.options.patience || still.len() >= reading.lives.len() {
                confirmed = still;
                break;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Ok((reading, confirmed))
    }

    async fn places(&mut self, stretch: &Stretch) -> Result<Places, Failure> {
        let mut places = Places::default();
        for (reader, (name, topics)) in READERS.iter().enumerate() {
            let service = named(self.ops, name)?;
            let failed = service.failed("read where it stands in the topics");
            let found = tables::places(&mut service.connection).await.map_err(failed)?;
            for topic in *topics {
                let partitions = stretch.parts.range((*topic, i32::MIN)..=(*topic, i32::MAX));
                let of_topic = partitions
                    .map(|((_, partition), _)| {
                        let at = (stretch.topics[*topic].clone(), *partition);
                        found.get(&at).copied().unwrap_or(0).max(0)
                    })
                    .collect();
                places.0.insert((reader, *topic), of_topic);
            }
        }
        Ok(places)
    }

    async fn orders(&mut self, lives: &mut Lives, slice: Slice) -> Result<(), Failure> {
        let since = self.since;
        let service = named(self.ops, "order")?;
        let failed = service.failed("read the orders");
        tables::orders(&mut service.connection, lives, since, slice)
            .await
            .map_err(failed)?;
        lives
            .values_mut()
            .for_each(|life| life.notes.add(Notes::LOOKED_UP));
        self.waits(|key, note| {
            if let Some(id) = slice.key(key) {
                lives.entry(id).or_default().notes.add(note);
            }
        })
        .await
    }

    /// Everything that the tables say of these.
    async fn look_up(&mut self, lives: &mut Lives, ids: &[Uuid]) -> Result<(), Failure> {
        let since = self.since;
        for some in ids.chunks(AT_ONCE) {
            let service = named(self.ops, "order")?;
            let failed = service.failed("look orders up");
            tables::orders_of(&mut service.connection, lives, some, since)
                .await
                .map_err(failed)?;
        }
        for id in ids {
            if let Some(life) = lives.get_mut(id) {
                life.notes.add(Notes::LOOKED_UP);
            }
        }
        self.states(lives, ids).await?;
        if ids.is_empty() {
            return Ok(());
        }
        self.waits(|key, note| {
            if let Some(life) = key.parse().ok().and_then(|id| lives.get_mut(&id)) {
                life.notes.add(note);
            }
        })
        .await
    }

    async fn states(&mut self, lives: &mut Lives, ids: &[Uuid]) -> Result<(), Failure> {
        for some in ids.chunks(AT_ONCE) {
            let service = named(self.ops, "inventory")?;
            let failed = service.failed("look holds up");
            tables::holds_of(&mut service.connection, lives, some)
                .await
                .map_err(failed)?;
            let service = named(self.ops, "payment")?;
            let failed = service.failed("look payments up");
            tables::payments_of(&mut service.connection, lives, some)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// What orders wait for, what of them is parked or was thrown away.
    async fn waits(&mut self, mut note: impl FnMut(&str, Notes)) -> Result<(), Failure> {
        for service in &mut self.ops.services {
            let failed = service.failed("read what orders wait for");
            tables::notes(&mut service.connection, &mut note)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Waits until the broker has what is committed now, as long as there is patience, and reads what is still there.
    async fn outboxes(
        &mut self,
        stretch: &Stretch,
        reading: &mut Reading,
    ) -> Result<BTreeMap<&'static str, OnTheWay>, Failure> {
        let mut then = Vec::new();
        for service in &mut self.ops.services {
            let failed = service.failed("look at the outbox");
            then.push(tables::snapshot(&mut service.connection).await.map_err(failed)?);
        }
        let begun = Instant::now();
        let mut all = BTreeMap::new();
        for (service, then) in self.ops.services.iter_mut().zip(then) {
            let failed = service.failed("look at the outbox");
            while begun.elapsed() < self.options.patience
                && tables::is_waiting(&mut service.connection, &then)
                    .await
                    .map_err(&failed)?
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let Reading {
                lives,
                expected,
                slice,
                ..
            } = &mut *reading;
            let first = slice.number == 0;
            let elsewhere = |topic: String, position: i64| {
                if first && stretch.topics[TOPICS.len()..].contains(&topic) {
                    expected.insert((topic, position.unsigned_abs()));
                }
            };
            let on_the_way = tables::outbox(&mut service.connection, lives, *slice, elsewhere)
                .await
                .map_err(failed)?;
            all.insert(service.name, on_the_way);
        }
        Ok(all)
    }

    async fn overdue(&mut self) -> Result<(), Failure> {
        let grace = self.options.grace.num_seconds();
        for service in &mut self.ops.services {
            let failed = service.failed("look for what is overdue");
            tables::late(&mut service.connection, grace, |finding| {
                self.report.findings.add(finding);
            })
            .await
            .map_err(failed)?;
        }
        Ok(())
    }

    async fn shelves(&mut self) -> Result<(), Failure> {
        let mut inventory = take(self.ops, "inventory")?;
        let mut order = take(self.ops, "order")?;
        let failed = inventory.failed("count what is on the shelves");
        let (shelves, wrong) = goods::wrong(&mut inventory.connection, &mut order.connection)
            .await
            .map_err(failed)?;
        self.report.shelves = shelves;
        self.report.findings.extend(wrong);
        self.ops.services.extend([inventory, order]);
        Ok(())
    }

    async fn people(&mut self) -> Result<(), Failure> {
        for service in &mut self.ops.services {
            let failed = service.failed("look for what is parked");
            let (keys, at_relay, exhausted) = tables::waits_for_people(&mut service.connection)
                .await
                .map_err(&failed)?;
            let paused = tables::paused(&mut service.connection).await.map_err(failed)?;
            let parked = &mut self.report.parked;
            parked.keys += keys;
            parked.at_relay += at_relay;
            parked.exhausted += exhausted;
            self.report.paused.extend(paused);
        }
        Ok(())
    }
}

fn named<'o>(ops: &'o mut Ops, name: &str) -> Result<&'o mut Service, Failure> {
    ops.services
        .iter_mut()
        .find(|service| service.name == name)
        .ok_or_else(|| without(name))
}

fn take(ops: &mut Ops, name: &str) -> Result<Service, Failure> {
    let at = ops.services.iter().position(|service| service.name == name);
    at.map(|at| ops.services.swap_remove(at))
        .ok_or_else(|| without(name))
}

fn without(name: &str) -> Failure {
    Failure::new(
        Code::Unavailable,
        format!("an audit needs every database, and {name}'s is not there"),
    )
}
