use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use quadrille_contracts::{OrderId, PaymentId, ProductId};
use quadrille_proto::order::v1::{Order, OrderStatus};
use quadrille_proto::r#type::v1::Money;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::accountant::Databases;
use crate::books::{self, Entry, Shelf};
use crate::chaos::ground::{DEADLINE, Ground};
use crate::chaos::log::{Committed, Log};
use crate::wait::until_within;

/// How long everything may take to come to rest once the last fault is over: many deadlines.
const PATIENCE: Duration = Duration::from_secs(180);
/// So many orders are compared with their payments at a time.
const AT_ONCE: i64 = 5_000;
/// The services and the database read their clocks one after the other.
const TOLERANCE: Duration = Duration::from_secs(2);

const OPEN: &str = "select order_id::text from witness.life where ended_at is null and order_id <> all($1)";
const EFFECTS: &str = "
select format('%s of %s, attempt %s: %s', kind, saga, attempt, last_error)
  from saga.effect where due_at is not null and saga <> all($1)";
const TIMERS: &str = "select format('%s of %s', name, saga) from saga.timer where saga <> all($1)";
const REPLAYS: &str = "select format('%s %s', participant, key) from saga.parked_key where key = any($1)";
const PARKED: &str = "select format('%s has parked %s: %s', participant, key, reason) from saga.parked_key
                       where key <> all($1)";
/// What is committed and not acknowledged by the broker.
const WAITING: &str = "
with acked as materialized (
    select coalesce((select acked_snap from saga.relay limit 1), '1:1:'::pg_snapshot) as snap
)
select format('%s of %s', o.type, o.aggregateid) from acked, saga.outbox o
 where o.xid >= pg_snapshot_xmin(acked.snap) and not pg_visible_in_snapshot(o.xid, acked.snap)";
const PLACES: &str = "select topic, partition, next_offset from saga.consumer_offset";

const KNOWN: &str = "select id from orders where status is not null and id > $1 order by id limit $2";
const ORDERS: &str = "
select id, status, total_minor, currency, money from orders where id = any($1)";
const PAYMENTS: &str = "select order_id, state, amount_minor from payment where order_id = any($1)";
const BOOKS: &str = "
select reference, currency,
       coalesce(sum(amount_minor) filter (where status = 'succeeded'), 0)::int8,
       coalesce(sum(given_back), 0)::int8,
       count(*) filter (where status = 'succeeded'),
       coalesce(sum(refunds), 0)::int8
  from charge
  left join lateral (select sum(r.amount_minor) as given_back, count(*) as refunds from refund r
                      where r.charge_id = charge.id) r on true
 where reference = any($1) group by reference, currency";
const SHELVES: &str = "select product_id, received, on_hand, held, sold from shelf";
const SOLD: &str = "
select (line->>'product_id')::uuid, sum((line->>'quantity')::int8)::int8
  from orders, jsonb_array_elements(lines) line where status = 'confirmed' and id <> all($1) group by 1";
const HELD: &str = "
select (line->>'product_id')::uuid, sum((line->>'quantity')::int8)::int8
  from hold, jsonb_array_elements(lines) line where state = 'held' and order_id = any($1) group by 1";
const STRAY: &str = "select order_id::text from hold where state = 'held' and order_id <> all($1)";
/// Each event once; a life begins once and ends once.
const TWICE: &str = "
select format('%s is there %s times for %s', type, count(*), key) from witness.event
 where not dead group by key, type having count(*) > 1 limit 50";
const LIVES: &str = "
select format('order %s has %s ways out', key, count(*)) from witness.event
 where type in ('order.confirmed', 'order.rejected', 'order.cancelled') and not dead
 group by key having count(*) > 1
union all
select format('order %s was never told', order_id) from witness.life
 where not exists (select from witness.event where key = order_id::text and type = 'order.created')
 limit 50";
/// Undone for its deadline long before that.
const HASTY: &str = "
select format('order %s was given up %s after it was taken, and had %s', id, ended_at - taken_at,
              $1 * interval '1 millisecond')
  from (select o.id, l.taken_at, l.ended_at from orders o join witness.life l on l.order_id = o.id
         where o.reason = 'deadline') late
 where ended_at - taken_at < $2 * interval '1 millisecond'";
const TIMES: &str = "
select count(*), count(*) filter (where ended_at - taken_at <= $1 * interval '1 millisecond'),
       (extract(epoch from percentile_cont(0.5) within group (order by ended_at - taken_at)) * 1000)::int8,
       (extract(epoch from percentile_cont(0.99) within group (order by ended_at - taken_at)) * 1000)::int8,
       (extract(epoch from max(ended_at - taken_at)) * 1000)::int8
  from witness.life";
const ENDS: &str = "
select concat_ws(', ', status, reason, case money when 'owed' then 'money owed' end), count(*)
  from orders where status is not null group by 1 order by 2 desc";

/// What is known of a run besides what the databases say.
#[derive(Debug)]
pub(crate) struct Books {
    /// Whether the load came to its end. If not, orders may be there of which nobody was told.
    pub(crate) whole: bool,
    /// The id of every order that was taken.
    pub(crate) accepted: BTreeSet<OrderId>,
    /// Those that were poisoned, with whether they were mended.
    pub(crate) poisoned: BTreeMap<OrderId, bool>,
    /// What was put on each shelf.
    pub(crate) delivered: BTreeMap<ProductId, i64>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// Orders by how they ended.
    pub(crate) ends: Vec<(String, i64)>,
    pub(crate) taken: i64,
    pub(crate) in_time: i64,
    pub(crate) half: Duration,
    pub(crate) most: Duration,
    pub(crate) longest: Duration,
    pub(crate) events: usize,
    pub(crate) records: u64,
    pub(crate) duplicates: u64,
    pub(crate) parked: usize,
    pub(crate) took: Duration,
    pub(crate) wrong: Vec<String>,
}

/// Waits for rest, then looks at every database, every topic and the provider's books.
pub(crate) async fn audit(ground: &Ground, books: &Books) -> Result<Findings> {
    let databases = Databases::open(&ground.system).await?;
    let provider = ground.system.database("sandbox").await?;
    let names: Vec<String> = quadrille_contracts::TOPICS
        .iter()
        .flat_map(|topic| {
            let name = ground.system.topic(topic.name);
            [format!("{name}-dlt"), name]
        })
        .collect();
    let brokers = ground.system.brokers().to_owned();
    let log = tokio::task::spawn_blocking(move || Log::open(&brokers, &names)).await??;
    let mut auditor = Auditor {
        parked: books
            .poisoned
            .iter()
            .filter(|(_, mended)| !**mended)
            .map(|(order, _)| *order)
            .collect(),
        books,
        databases,
        provider,
        findings: Findings::default(),
    };
    let rested = until_within(PATIENCE, "the shop to come to rest", async || {
        auditor.rest(&log).await
    })
    .await;
    let begun = Instant::now();
    if let Err(restless) = rested {
        auditor.wrong(format!("{restless:#}"));
    }
    eprintln!("at rest; the accountant reads");
    auditor.orders().await?;
    auditor.goods().await?;
    auditor.lives().await?;
    auditor.times().await?;
    auditor.topics(log).await?;
    auditor.colleague(ground).await?;
    auditor.findings.took = begun.elapsed();
    Ok(auditor.findings)
}

struct Auditor<'b> {
    books: &'b Books,
    /// Orders that nobody mended: they may wait for a person.
    parked: BTreeSet<OrderId>,
    databases: Databases,
    provider: PgPool,
    findings: Findings,
}

impl Auditor<'_> {
    fn wrong(&mut self, what: String) {
        eprintln!("VIOLATION: {what}");
        self.findings.wrong.push(what);
    }

    fn all_wrong(&mut self, what: impl IntoIterator<Item = String>) {
        what.into_iter().for_each(|one| self.wrong(one));
    }

    fn parked_ids(&self) -> Vec<Uuid> {
        self.parked.iter().map(|order| order.0).collect()
    }

    fn parked_keys(&self) -> Vec<String> {
        self.parked.iter().map(ToString::to_string).collect()
    }

    /// G5: every saga has ended or is parked, and nothing is on its way.
    async fn rest(&self, log: &Log) -> Result<()> {
        let (keys, ids) = (self.parked_keys(), self.parked_ids());
        let mended: Vec<String> = self.books.poisoned.keys().map(ToString::to_string).collect();
        let mended: Vec<String> = mended.into_iter().filter(|key| !keys.contains(key)).collect();
        let open: Vec<String> = sqlx::query_scalar(OPEN)
            .bind(&ids)
            .fetch_all(self.databases.named("order"))
            .await?;
        none("orders are open", &open)?;
        for (name, database) in &self.databases.outboxes {
            for (what, sql, but) in [
                ("calls are to be made", EFFECTS, &keys),
                ("timers are set", TIMERS, &keys),
                ("replays are not done", REPLAYS, &mended),
            ] {
                let found: Vec<String> = sqlx::query_scalar(sql).bind(but).fetch_all(database).await?;
                none(what, &found).context(*name)?;
            }
            let waiting: Vec<String> = sqlx::query_scalar(WAITING).fetch_all(database).await?;
            none("events are not published", &waiting).context(*name)?;
        }
        let ends = tokio::task::block_in_place(|| log.ends())?;
        for (name, database) in &self.databases.outboxes {
            let places: Vec<(String, i32, i64)> = sqlx::query_as(PLACES).fetch_all(database).await?;
            let unread: Vec<String> = places
                .into_iter()
                .filter_map(|(topic, partition, next)| {
                    let end = ends.get(&(topic.clone(), partition))?;
                    // Nothing was read of what was never written.
                    (next.max(0) < *end).then(|| format!("{topic}/{partition} is read up to {next} of {end}"))
                })
                .collect();
            none("partitions are not read", &unread).context(*name)?;
        }
        Ok(())
    }

    /// What was taken is there, what is there was taken, and its money adds up.
    async fn orders(&mut self) -> Result<()> {
        let (order, payment) = (
            self.databases.named("order").clone(),
            self.databases.named("payment").clone(),
        );
        let parked: BTreeSet<OrderId> = self.parked.clone();
        let mut lost = self.books.accepted.clone();
        let mut after = Uuid::nil();
        loop {
            let ids: Vec<Uuid> = sqlx::query_scalar(KNOWN)
                .bind(after)
                .bind(AT_ONCE)
                .fetch_all(&order)
                .await?;
            let Some(last) = ids.last() else { break };
            after = *last;
            for id in &ids {
                if !lost.remove(&OrderId(*id)) && self.books.whole {
                    self.wrong(format!("order {id} is there, and nobody was told"));
                }
            }
            let references: Vec<String> = ids
                .iter()
                .map(|id| PaymentId::of(OrderId(*id)).to_string())
                .collect();
            let entries: Vec<Booked> = sqlx::query_as(BOOKS)
                .bind(&references)
                .fetch_all(&self.provider)
                .await?;
            let payments: Vec<(Uuid, String, Option<i64>)> =
                sqlx::query_as(PAYMENTS).bind(&ids).fetch_all(&payment).await?;
            let rows: Vec<Placed> = sqlx::query_as(ORDERS).bind(&ids).fetch_all(&order).await?;
            let row = |(id, state, amount_minor)| (OrderId(id), books::PaymentRow { state, amount_minor });
            let wrong = books::money(
                &rows.into_iter().map(shown).collect::<Vec<_>>(),
                &parked,
                &payments.into_iter().map(row).collect(),
                &entries.into_iter().map(entry).collect::<Vec<_>>(),
            );
            self.all_wrong(wrong);
        }
        let strange = lost
            .into_iter()
            .map(|id| format!("order {id} was taken, and is not there"));
        self.all_wrong(strange.collect::<Vec<_>>());
        Ok(())
    }

    /// Shelves, and nothing held or parked that should not be.
    async fn goods(&mut self) -> Result<()> {
        let (order, inventory) = (
            self.databases.named("order").clone(),
            self.databases.named("inventory").clone(),
        );
        let (ids, keys) = (self.parked_ids(), self.parked_keys());
        let of = |rows: Vec<(Uuid, i64)>| rows.into_iter().collect::<BTreeMap<Uuid, i64>>();
        let sold = of(sqlx::query_as(SOLD).bind(&ids).fetch_all(&order).await?);
        let held = of(sqlx::query_as(HELD).bind(&ids).fetch_all(&inventory).await?);
        let shelves: Vec<(Uuid, i64, i64, i64, i64)> = sqlx::query_as(SHELVES).fetch_all(&inventory).await?;
        for (product, received, on_hand, held_there, sold_there) in shelves {
            let shelf = Shelf {
                received,
                on_hand,
                held: held_there,
                sold: sold_there,
            };
            let units = |of: &BTreeMap<Uuid, i64>| of.get(&product).copied().unwrap_or_default();
            let mut wrong = shelf.discrepancies(units(&held), units(&sold));
            let delivered = self.books.delivered.get(&ProductId(product)).copied();
            if delivered.is_some_and(|delivered| delivered != received) {
                wrong.push(format!("received is {received} instead of {delivered:?}"));
            }
            self.all_wrong(wrong.into_iter().map(|what| format!("product {product}: {what}")));
        }
        let stray: Vec<String> = sqlx::query_scalar(STRAY).bind(&ids).fetch_all(&inventory).await?;
        self.all_wrong(
            stray
                .into_iter()
                .map(|id| format!("stock is held for order {id}, which has ended")),
        );
        let mut parked = Vec::new();
        for (name, database) in &self.databases.outboxes {
            let found: Vec<String> = sqlx::query_scalar(PARKED).bind(&keys).fetch_all(database).await?;
            parked.extend(found.into_iter().map(|what| format!("{name}: {what}")));
        }
        self.all_wrong(parked);
        self.findings.parked = keys.len();
        Ok(())
    }

    /// Each order was created once and ended once, and nobody said anything twice.
    async fn lives(&mut self) -> Result<()> {
        let mut wrong: Vec<String> = Vec::new();
        for database in self.databases.outboxes.values() {
            wrong.extend(sqlx::query_scalar(TWICE).fetch_all(database).await?);
        }
        let order = self.databases.named("order");
        wrong.extend(sqlx::query_scalar(LIVES).fetch_all(order).await?);
        let hasty: Vec<String> = sqlx::query_scalar(HASTY)
            .bind(millis(DEADLINE))
            .bind(millis(DEADLINE.saturating_sub(TOLERANCE)))
            .fetch_all(order)
            .await?;
        wrong.extend(hasty);
        self.all_wrong(wrong);
        Ok(())
    }

    async fn times(&mut self) -> Result<()> {
        let order = self.databases.named("order");
        type Times = (i64, i64, Option<i64>, Option<i64>, Option<i64>);
        let (taken, in_time, half, most, longest): Times = sqlx::query_as(TIMES)
            .bind(millis(DEADLINE))
            .fetch_one(order)
            .await?;
        let ends = sqlx::query_as(ENDS).fetch_all(order).await?;
        let time = |ms: Option<i64>| Duration::from_millis(ms.unwrap_or_default().unsigned_abs());
        self.findings = Findings {
            ends,
            taken,
            in_time,
            half: time(half),
            most: time(most),
            longest: time(longest),
            ..std::mem::take(&mut self.findings)
        };
        Ok(())
    }

    /// What was committed is in its topic, in order, and nothing else is.
    async fn topics(&mut self, log: Log) -> Result<()> {
        let mut committed = BTreeMap::new();
        for (name, database) in &self.databases.outboxes {
            committed.insert((*name).to_owned(), Committed::read(database).await?);
        }
        self.findings.events = committed.values().map(Committed::len).sum();
        let found = tokio::task::spawn_blocking(move || log.check(&mut committed)).await??;
        self.findings.records = found.records;
        self.findings.duplicates = found.duplicates;
        self.all_wrong(found.wrong);
        let poisoned: BTreeSet<String> = self.books.poisoned.keys().map(ToString::to_string).collect();
        let strange: Vec<String> = found
            .foreign
            .into_iter()
            .filter(|(key, _)| !poisoned.contains(key))
            .map(|(key, count)| format!("{count} records of key {key} came from nowhere"))
            .collect();
        self.all_wrong(strange);
        Ok(())
    }

    /// `sagactl audit`, which knows nothing of this run, has to find the same: nothing.
    async fn colleague(&mut self, ground: &Ground) -> Result<()> {
        let asked = ["audit", "--wait", "30", "--output", "json"];
        let (code, out, err) = ground.system.sagactl(&asked).await?;
        if code == 0 {
            return Ok(());
        }
        let answer: Value = serde_json::from_str(&out).unwrap_or_default();
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let mut wrong: Vec<String> = answer["findings"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| {
                let (class, name) = (text(one, "class"), text(one, "name"));
                format!(
                    "sagactl audit: {class}/{name}: {}: {}",
                    text(one, "subject"),
                    text(one, "detail")
                )
            })
            .collect();
        if wrong.is_empty() {
            wrong.push(format!("sagactl audit ends with {code}: {err}"));
        }
        self.all_wrong(wrong);
        Ok(())
    }
}

#[derive(sqlx::FromRow)]
struct Placed {
    id: Uuid,
    status: String,
    total_minor: i64,
    currency: String,
    money: Option<String>,
}

type Booked = (String, String, i64, i64, i64, i64);

/// As much of an order as its money is judged by.
fn shown(row: Placed) -> Order {
    let status = match row.status.as_str() {
        "confirmed" => OrderStatus::Confirmed,
        "rejected" => OrderStatus::Rejected,
        "cancelled" => OrderStatus::Cancelled,
        "refunded" => OrderStatus::Refunded,
        _ => OrderStatus::Pending,
    };
    Order {
        order_id: row.id.to_string(),
        status: status.into(),
        money_owed: row.money.as_deref() == Some("owed"),
        total: Some(Money {
            currency_code: row.currency,
            minor_units: row.total_minor,
        }),
        ..Order::default()
    }
}

fn entry((reference, currency, captured_minor, refunded_minor, charges, refunds): Booked) -> Entry {
    Entry {
        reference,
        currency,
        captured_minor,
        refunded_minor,
        charges,
        refunds,
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn none(what: &str, found: &[String]) -> Result<()> {
    ensure!(
        found.is_empty(),
        "{} {what}: {}",
        found.len(),
        found.iter().take(5).cloned().collect::<Vec<_>>().join("; ")
    );
    Ok(())
}
