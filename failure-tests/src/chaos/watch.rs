use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::PgPool;
use uuid::Uuid;

use crate::chaos::fault::Kind;
use crate::chaos::ground::Ground;
use crate::chaos::pace::Pace;

const EVERY: Duration = Duration::from_millis(250);
/// A look at the books takes longer the more there is in them; so much longer than itself is the rest after it.
const REST: u32 = 20;
const REST_MIN: Duration = Duration::from_secs(2);
/// A look that met an outage took long for that.
const REST_MAX: Duration = Duration::from_secs(60);
/// How long a look may take. A database that is frozen answers when it is woken.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often somebody who waits hears something.
const NEWS: Duration = Duration::from_secs(10);

/// How many orders are open, and for how long the oldest has been that is paid with a card: how long a page stays open is its
/// customer's choice.
const OPEN: &str = "
select count(*),
       (extract(epoch from clock_timestamp() - min(taken_at) filter (where is_card)) * 1000)::int8
  from witness.life where ended_at is null";

/// One statement sees one moment, so these hold at any time.
const SHELVES: &str = "
with held as (
    select (line->>'product_id')::uuid as product_id, sum((line->>'quantity')::int8) as units
      from hold, jsonb_array_elements(lines) line where state = 'held' group by 1
)
select product_id, format('on hand %s, held %s (%s by orders), sold %s, received %s',
                          on_hand, held, coalesce(units, 0), sold, received)
  from shelf left join held using (product_id)
 where on_hand < 0 or held < 0 or sold < 0 or on_hand + held + sold <> received or held <> coalesce(units, 0)
 limit 20";
const BOOKS: &str = "
select reference, format('%s charges of %s, %s given back', count(*) filter (where status = 'succeeded'),
                         sum(amount_minor) filter (where status = 'succeeded'), sum(refunded_minor))
  from charge group by reference
having count(*) filter (where status = 'succeeded') > 1
    or sum(refunded_minor) > coalesce(sum(amount_minor) filter (where status = 'succeeded'), 0)
union all
select r.reference, format('%s refunds of %s without a charge of that much', count(*), sum(r.amount_minor))
  from refund r left join charge c on c.id = r.charge_id and c.status = 'succeeded'
 group by r.reference having count(*) > 1 or sum(r.amount_minor) > coalesce(max(c.amount_minor), 0)
 limit 20";

/// Looks on while it all happens.
#[derive(Debug)]
pub(crate) struct Watch {
    order: PgPool,
    inventory: PgPool,
    provider: PgPool,
    seen: Mutex<Seen>,
}

/// What it saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Of each kind: how many, and how long each took.
    pub(crate) injected: BTreeMap<Kind, Vec<Duration>>,
    /// Of each kind: from its end until every order by card that had been taken by then had ended.
    pub(crate) recovered: BTreeMap<Kind, Vec<Duration>>,
    /// Faults after which that has not come yet.
    recovering: Vec<(Kind, Instant)>,
    /// How often the books were looked at.
    pub(crate) looks: u64,
    /// What must never be.
    pub(crate) wrong: BTreeSet<String>,
}

impl Watch {
    pub(crate) async fn over(ground: &Ground) -> Result<Self> {
        Ok(Self {
            order: ground.system.database("order").await?,
            inventory: ground.system.database("inventory").await?,
            provider: ground.system.database("sandbox").await?,
            seen: Mutex::default(),
        })
    }

    /// A fault has been, for so long.
    pub(crate) fn fault_is_over(&self, kind: Kind, took: Duration) {
        let mut seen = self.lock();
        seen.injected.entry(kind).or_default().push(took);
        seen.recovering.push((kind, Instant::now()));
    }

    pub(crate) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    /// How many faults there were.
    pub(crate) fn faults(&self) -> usize {
        self.lock().injected.values().map(Vec::len).sum()
    }

    /// Counts what is open, and notes who has recovered, until it is dropped.
    pub(crate) async fn count(&self, pace: &Pace) {
        loop {
            let asked = tokio::time::timeout(PATIENCE, self.open()).await;
            // A database that is away is what this is about.
            if let Ok(Ok((open, oldest))) = asked {
                pace.are_open(open);
                let now = Instant::now();
                let since = oldest.and_then(|age| now.checked_sub(age)).unwrap_or(now);
                self.recover(since, oldest.is_none(), now);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn recover(&self, oldest: Instant, none: bool, now: Instant) {
        let mut seen = self.lock();
        let (over, left): (Vec<_>, Vec<_>) = std::mem::take(&mut seen.recovering)
            .into_iter()
            .partition(|(_, end)| none || oldest > *end);
        seen.recovering = left;
        for (kind, end) in over {
            let took = now.duration_since(end);
            seen.recovered.entry(kind).or_default().push(took);
        }
    }

    async fn open(&self) -> Result<(usize, Option<Duration>)> {
        let (open, oldest): (i64, Option<i64>) = sqlx::query_as(OPEN).fetch_one(&self.order).await?;
        let oldest = oldest.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or_default()));
        Ok((usize::try_from(open)?, oldest))
    }

    /// Looks at shelves and at the provider's books, until it is dropped.
    pub(crate) async fn look(&self) {
        loop {
            let begun = Instant::now();
            let looked = tokio::time::timeout(PATIENCE, self.books()).await;
            if let Ok(Ok(wrong)) = looked {
                let mut seen = self.lock();
                seen.looks += 1;
                for one in wrong {
                    if seen.wrong.insert(one.clone()) {
                        eprintln!("VIOLATION, while it runs: {one}");
                    }
                }
            }
            tokio::time::sleep((begun.elapsed() * REST).clamp(REST_MIN, REST_MAX)).await;
        }
    }

    async fn books(&self) -> Result<Vec<String>> {
        let shelves: Vec<(Uuid, String)> = sqlx::query_as(SHELVES).fetch_all(&self.inventory).await?;
        let books: Vec<(String, String)> = sqlx::query_as(BOOKS).fetch_all(&self.provider).await?;
        let shelves = shelves
            .into_iter()
            .map(|(product, what)| format!("shelf of {product}: {what}"));
        let books = books
            .into_iter()
            .map(|(reference, what)| format!("the provider's books of {reference}: {what}"));
        Ok(shelves.chain(books).collect())
    }

    /// Says how far it is, until it is dropped.
    pub(crate) async fn tell(self: Arc<Self>, pace: Arc<Pace>, orders: usize, faults: usize) {
        let (mut before, begun) = (0, Instant::now());
        loop {
            tokio::time::sleep(NEWS).await;
            let taken = pace.taken();
            let rate = (taken - before) as u64 / NEWS.as_secs();
            before = taken;
            let done = u32::try_from(taken.max(1)).unwrap_or(u32::MAX);
            let to_do = u32::try_from(orders - taken.min(orders)).unwrap_or(u32::MAX);
            let left = begun.elapsed().as_secs() * u64::from(to_do) / u64::from(done);
            eprintln!(
                "{taken} of {orders} orders taken ({rate}/s), {} open; {} of {faults} faults, {} violations; about {} left",
                pace.open(),
                self.faults(),
                self.lock().wrong.len(),
                time(left),
            );
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds, for people.
pub(crate) fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
    }
}
