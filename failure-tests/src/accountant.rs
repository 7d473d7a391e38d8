use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Result, bail, ensure};
use quadrille_contracts::{OrderId, PaymentId, ProductId};
use quadrille_proto::order::v1::{Order, OrderStatus};
use saga_proof::stage::outboxes::{EFFECTS, PARKED, PLACES, TIMERS};
use sqlx::PgPool;
use uuid::Uuid;

use crate::books::{self, PaymentRow, Shelf};
use crate::customer::Customer;
use crate::events::{self, Given};
use crate::provider::Provider;
use crate::system::System;
use crate::topics::{Record, Topics};
use crate::wait::until;
use crate::witness::{self, Committed};

const SHELVES: &str =
    "select product_id, received, on_hand, held, sold from shelf where product_id = any($1)";
const HELD: &str = "select order_id from hold where state = 'held' and order_id = any($1)";
const PAYMENTS: &str = "select order_id, state, amount_minor from payment where order_id = any($1)";

/// Looks at every database, every topic and the provider's books, once everything has come to rest.
///
/// What it looks at is what one customer did; several may be at work in the same shop.
#[derive(Debug)]
pub struct Accountant<'s> {
    system: &'s System,
    customer: &'s Customer,
    parked: BTreeSet<OrderId>,
    foreign: bool,
    left_out: &'static [&'static str],
}

/// What was found to be right.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// Orders by how they ended.
    pub ends: BTreeMap<&'static str, usize>,
    /// Events in the topics, of anybody.
    pub events: usize,
    /// Records that came twice.
    pub duplicates: usize,
    /// Records that no relay wrote.
    pub foreign: usize,
}

impl<'s> Accountant<'s> {
    /// For the orders and products of one customer.
    pub fn new(system: &'s System, customer: &'s Customer) -> Self {
        Self {
            system,
            customer,
            parked: BTreeSet::new(),
            foreign: false,
            left_out: &[],
        }
    }

    /// Events of these types are somebody else's to judge: an operator has meddled with them, and their positions in the
    /// topics are not those of the outbox.
    #[must_use]
    pub fn leaving_out(mut self, types: &'static [&'static str]) -> Self {
        self.left_out = types;
        self
    }

    /// This order is expected to be parked, and nothing more to happen to it.
    #[must_use]
    pub fn parked(mut self, order: OrderId) -> Self {
        self.parked.insert(order);
        self
    }

    /// The topics hold records about these orders that no relay wrote.
    #[must_use]
    pub fn with_foreign_records(mut self) -> Self {
        self.foreign = true;
        self
    }

    /// Waits for rest, then checks everything.
    ///
    /// # Errors
    /// What does not come to rest, or everything that does not add up.
    pub async fn audit(&self) -> Result<Audit> {
        let accepted: BTreeSet<OrderId> = self.customer.accepted().into_iter().collect();
        let delivered = self.customer.delivered();
        let databases = Databases::open(self.system).await?;

        let orders = until("the orders to end", async || self.ended().await).await?;
        let mut wrong = Vec::new();
        let known: BTreeSet<OrderId> = orders
            .iter()
            .filter_map(|order| order.order_id.parse().ok())
            .collect();
        for lost in accepted.difference(&known) {
            wrong.push(format!("order {lost} was taken, and is not there"));
        }
        for strange in known.difference(&accepted) {
            wrong.push(format!("order {strange} is there, and nobody was told"));
        }

        until("the services to come to rest", async || {
            self.rest(&databases, &accepted).await
        })
        .await?;
        let keys: BTreeSet<String> = accepted
            .iter()
            .map(ToString::to_string)
            .chain(delivered.keys().map(ToString::to_string))
            .collect();
        let mut topics = self.topics(&databases).await?;
        let committed = until("the topics to be read", async || {
            tokio::task::block_in_place(|| topics.catch_up())?;
            let committed = databases.committed().await?;
            self.read_by_all(&databases, &topics, &committed, &keys).await?;
            anyhow::Ok(committed)
        })
        .await?;
        // Whatever the last events have set going.
        until("the services to be at rest still", async || {
            self.rest(&databases, &accepted).await
        })
        .await?;

        let is_left_out = |record: &Record| {
            let name = record.header(saga_core::envelope::CE_TYPE);
            name.is_some_and(|name| self.left_out.contains(&name))
        };
        topics.records.retain(|record| !is_left_out(record));
        let given = if self.left_out.is_empty() {
            Given::Whole(&topics.records)
        } else {
            Given::Some(&topics.records)
        };
        let findings = events::check(&committed, given, |key| keys.contains(key));
        wrong.extend(findings.violations);
        if findings.foreign > 0 && !self.foreign {
            wrong.push(format!("{} records have no position", findings.foreign));
        }
        wrong.extend(lives(&committed, &known));
        let shelves = databases.shelves(&delivered).await?;
        wrong.extend(books::goods(&orders, &self.parked, &delivered, &shelves));
        let payments = databases.payments(&accepted).await?;
        let references: BTreeSet<String> = accepted.iter().map(|id| PaymentId::of(*id).to_string()).collect();
        let mut entries = Provider::of(self.system)?.books().await?;
        entries.retain(|entry| references.contains(&entry.reference));
        wrong.extend(books::money(&orders, &self.parked, &payments, &entries));
        if !wrong.is_empty() {
            self.system.keep();
            let shown = wrong
                .iter()
                .take(40)
                .map(|one| format!("\n  {one}"))
                .collect::<String>();
            bail!("{} things do not add up:{shown}", wrong.len());
        }

        let mut ends = BTreeMap::new();
        for order in &orders {
            *ends.entry(order.status().as_str_name()).or_default() += 1;
        }
        Ok(Audit {
            ends,
            events: findings.published,
            duplicates: findings.duplicates,
            foreign: findings.foreign,
        })
    }

    /// G5: all orders, if each has ended.
    async fn ended(&self) -> Result<Vec<Order>> {
        let orders = self.customer.everything().await?;
        let open: Vec<String> = orders
            .iter()
            .filter(|order| !order.order_id.parse().is_ok_and(|id| self.parked.contains(&id)))
            .filter_map(|order| books::ended(order).err())
            .collect();
        ensure!(open.is_empty(), "{} are open: {}", open.len(), first(&open));
        Ok(orders)
    }

    /// Nothing is outstanding, nothing waits, and nobody is parked who is not meant to be.
    async fn rest(&self, databases: &Databases, orders: &BTreeSet<OrderId>) -> Result<()> {
        let sagas: Vec<String> = orders
            .iter()
            .filter(|id| !self.parked.contains(id))
            .map(ToString::to_string)
            .collect();
        let all: Vec<String> = orders.iter().map(ToString::to_string).collect();
        let mut parked = BTreeSet::new();
        for (name, database) in &databases.outboxes {
            let effects: Vec<(String, String, i32, Option<String>)> =
                sqlx::query_as(EFFECTS).bind(&sagas).fetch_all(database).await?;
            ensure!(
                effects.is_empty(),
                "{name} has {} calls to make: {:?}",
                effects.len(),
                effects.first()
            );
            let timers: Vec<(String, String)> =
                sqlx::query_as(TIMERS).bind(&sagas).fetch_all(database).await?;
            ensure!(
                timers.is_empty(),
                "{name} waits for {} timers: {:?}",
                timers.len(),
                timers.first()
            );
            let keys: Vec<(String, String, String)> =
                sqlx::query_as(PARKED).bind(&all).fetch_all(database).await?;
            for (participant, key, reason) in keys {
                let id = key.parse()?;
                ensure!(
                    self.parked.contains(&id),
                    "{participant} has parked {key}: {reason}"
                );
                parked.insert(id);
            }
        }
        let missing: Vec<&OrderId> = self.parked.difference(&parked).collect();
        ensure!(missing.is_empty(), "{missing:?} should be parked by now");
        let free: Vec<Uuid> = orders
            .iter()
            .filter(|id| !self.parked.contains(id))
            .map(|id| id.0)
            .collect();
        let held: Vec<Uuid> = sqlx::query_scalar(HELD)
            .bind(free)
            .fetch_all(databases.named("inventory"))
            .await?;
        ensure!(
            held.is_empty(),
            "stock is held for {} orders: {:?}",
            held.len(),
            held.first()
        );
        Ok(())
    }

    async fn topics(&self, databases: &Databases) -> Result<Topics> {
        let mut names: BTreeSet<String> = quadrille_contracts::TOPICS
            .iter()
            .map(|topic| format!("{}{}", self.system.prefix(), topic.name))
            .collect();
        for events in databases.committed().await?.values() {
            names.extend(events.iter().map(|event| event.topic.clone()));
        }
        let names: Vec<String> = names.into_iter().collect();
        tokio::task::block_in_place(|| Topics::open(self.system.brokers(), &names))
    }

    /// Whether all events of these keys are in their topics, and everybody who reads those has read them.
    async fn read_by_all(
        &self,
        databases: &Databases,
        topics: &Topics,
        committed: &BTreeMap<String, Vec<Committed>>,
        keys: &BTreeSet<String>,
    ) -> Result<()> {
        let published: BTreeSet<&str> = topics
            .records
            .iter()
            .filter_map(|record| record.header(saga_core::envelope::CE_ID))
            .collect();
        let waiting: Vec<&Committed> = committed
            .values()
            .flatten()
            .filter(|event| keys.contains(&event.key) && !published.contains(event.id.to_string().as_str()))
            .collect();
        ensure!(
            waiting.is_empty(),
            "{} events are not published: {:?}",
            waiting.len(),
            waiting.first()
        );
        for (name, database) in &databases.outboxes {
            let places: Vec<(String, String, i32, i64)> = sqlx::query_as(PLACES).fetch_all(database).await?;
            let places: BTreeMap<(&str, i32), i64> = places
                .iter()
                .map(|(_, topic, partition, next)| ((topic.as_str(), *partition), *next))
                .collect();
            let unread = |record: &&Record| {
                keys.contains(&record.key_text())
                    && places
                        .get(&(record.topic.as_str(), record.partition))
                        .is_some_and(|next| record.offset >= *next)
            };
            let unread = topics.records.iter().filter(unread).count();
            ensure!(unread == 0, "{name} has not read {unread} records");
        }
        Ok(())
    }
}

impl Audit {
    /// How many orders ended this way.
    pub fn ended(&self, status: OrderStatus) -> usize {
        self.ends.get(status.as_str_name()).copied().unwrap_or_default()
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (status, count) in &self.ends {
            let status = status.trim_start_matches("ORDER_STATUS_").to_ascii_lowercase();
            write!(f, "{count} {status}, ")?;
        }
        write!(f, "{} events, {} records twice", self.events, self.duplicates)
    }
}

/// Every database of ours, as the superuser.
#[derive(Debug)]
pub(crate) struct Databases {
    pub(crate) outboxes: BTreeMap<&'static str, PgPool>,
}

impl Databases {
    pub(crate) async fn open(system: &System) -> Result<Self> {
        let mut outboxes = BTreeMap::new();
        for name in system.outboxes() {
            outboxes.insert(*name, system.database(name).await?);
        }
        Ok(Self { outboxes })
    }

    pub(crate) fn named(&self, name: &str) -> &PgPool {
        &self.outboxes[name]
    }

    async fn committed(&self) -> Result<BTreeMap<String, Vec<Committed>>> {
        let mut all = BTreeMap::new();
        for (name, database) in &self.outboxes {
            all.insert((*name).to_owned(), witness::read(database).await?);
        }
        Ok(all)
    }

    async fn shelves(&self, products: &BTreeMap<ProductId, i64>) -> Result<BTreeMap<ProductId, Shelf>> {
        let ids: Vec<Uuid> = products.keys().map(|id| id.0).collect();
        let rows: Vec<(Uuid, i64, i64, i64, i64)> = sqlx::query_as(SHELVES)
            .bind(ids)
            .fetch_all(self.named("inventory"))
            .await?;
        let shelf = |(id, received, on_hand, held, sold)| {
            (
                ProductId(id),
                Shelf {
                    received,
                    on_hand,
                    held,
                    sold,
                },
            )
        };
        Ok(rows.into_iter().map(shelf).collect())
    }

    pub(crate) async fn payments(&self, orders: &BTreeSet<OrderId>) -> Result<BTreeMap<OrderId, PaymentRow>> {
        let ids: Vec<Uuid> = orders.iter().map(|id| id.0).collect();
        let rows: Vec<(Uuid, String, Option<i64>)> = sqlx::query_as(PAYMENTS)
            .bind(ids)
            .fetch_all(self.named("payment"))
            .await?;
        let row = |(id, state, amount_minor)| (OrderId(id), PaymentRow { state, amount_minor });
        Ok(rows.into_iter().map(row).collect())
    }
}

/// What was committed about each order makes a life: created first, one way out of pending, at most one of each
/// kind of event.
pub(crate) fn lives(committed: &BTreeMap<String, Vec<Committed>>, orders: &BTreeSet<OrderId>) -> Vec<String> {
    let mut lives: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in committed
        .values()
        .flatten()
        .filter(|event| !event.topic.ends_with("-dlt"))
    {
        lives.entry(&event.key).or_default().push(&event.r#type);
    }
    let mut wrong = Vec::new();
    for id in orders {
        let life = lives.remove(id.to_string().as_str()).unwrap_or_default();
        let once: BTreeSet<&str> = life.iter().copied().collect();
        let ends = ["order.confirmed", "order.rejected", "order.cancelled"];
        let ways_out = life.iter().filter(|name| ends.contains(name)).count();
        if once.len() != life.len() || !once.contains("order.created") || ways_out > 1 {
            wrong.push(format!("order {id} had this life: {}", life.join(", ")));
        }
    }
    wrong
}

fn first(all: &[String]) -> String {
    let mut text = all.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
    if all.len() > 5 {
        text.push_str("; …");
    }
    text
}
