//! Shelves: what is held is what orders hold, and what is sold is what was confirmed.
//!
//! Two databases have no common snapshot, and orders go on. But an order is confirmed before its goods are sold. So three
//! looks are taken in this order: at what inventory's transactions have ended, at the orders, at the shelves. Whatever
//! of the orders was confirmed by then is sold or still held on the shelves. And what is sold beyond that was sold in
//! between, by a transaction that the first look did not see: few rows, that are asked for one by one.
//!
//! No clock is read. Processes write theirs into rows, and an audit is what shows whether all is well after one was wrong.

use std::collections::BTreeMap;

use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use sqlx::{Connection as _, Executor as _, PgConnection, Postgres};
use uuid::Uuid;

use super::finding::{Class, Finding};

const MOMENT: &str = "begin isolation level repeatable read read only";

const SHELVES: &str = "select product_id, received, on_hand, held, sold from shelf";

const HELD: &str = "\
select l.product_id, sum(l.quantity)::int8
  from hold, jsonb_to_recordset(lines) as l (product_id uuid, quantity int8)
 where state = 'held' group by l.product_id";

const HOLDING: &str = "select order_id from hold where state = 'held'";

/// The oldest transaction that may not have ended, as rows bear it.
const UNENDED: &str = "select pg_snapshot_xmin(pg_current_snapshot())::xid::text";

/// Sold by transactions that had not ended then. Ages, since transaction ids go round; a row from the other half of the
/// round may be among them and does no harm.
const SOLD_SINCE: &str = "select order_id from hold where state = 'sold' and age(xmin) <= age($1::text::xid)";

const CONFIRMED: &str = "\
select l.product_id, sum(l.quantity)::int8
  from orders o, jsonb_to_recordset(o.lines) as l (product_id uuid, quantity int8)
 where o.status = 'confirmed' and not exists (select from unnest($1::uuid[]) as holding (id) where holding.id = o.id)
 group by l.product_id";

const NOT_CONFIRMED: &str = "\
select sold.id from unnest($1::uuid[]) as sold (id)
 where not exists (select from orders o where o.id = sold.id and o.status = 'confirmed')";

const CONFIRMED_OF: &str = "\
select l.product_id, sum(l.quantity)::int8
  from orders o, jsonb_to_recordset(o.lines) as l (product_id uuid, quantity int8)
 where o.status = 'confirmed' and o.id = any($1)
 group by l.product_id";

pub(super) const OF_SERVICES: &[(&str, &str, &str)] = &[
    ("inventory", "shelves", SHELVES),
    ("inventory", "held", HELD),
    ("inventory", "holding", HOLDING),
    ("inventory", "unended", UNENDED),
    ("inventory", "sold_since", SOLD_SINCE),
    ("order", "confirmed", CONFIRMED),
    ("order", "not_confirmed", NOT_CONFIRMED),
    ("order", "confirmed_of", CONFIRMED_OF),
];

/// How many units, in the words of inventory's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shelf {
    /// Units that ever came in.
    pub received: i64,
    /// Units that no order holds.
    pub on_hand: i64,
    /// Units that wait for the end of an order.
    pub held: i64,
    /// Units that left.
    pub sold: i64,
}

impl Shelf {
    /// What does not add up, if orders hold so many units of it and so many were confirmed.
    pub fn discrepancies(&self, held: i64, sold: i64) -> Vec<String> {
        [
            (
                "on hand + held + sold",
                self.on_hand + self.held + self.sold,
                self.received,
            ),
            ("held", self.held, held),
            ("sold", self.sold, sold),
        ]
        .into_iter()
        .filter(|(_, is, should)| is != should)
        .map(|(what, is, should)| format!("{what} is {is} instead of {should} ({self:?})"))
        .collect()
    }
}

/// Every shelf that does not add up.
pub(super) async fn wrong(
    inventory: &mut PgConnection,
    order: &mut PgConnection,
) -> Result<(usize, Vec<Finding>), sqlx::Error> {
    let unended: String = sqlx::query_scalar(UNENDED).fetch_one(&mut *inventory).await?;
    let mut orders = order.begin_with(MOMENT).await?;
    // The first statement takes the snapshot.
    orders.execute("select").await?;
    let mut moment = inventory.begin_with(MOMENT).await?;
    let shelves: Vec<(Uuid, i64, i64, i64, i64)> = sqlx::query_as(SHELVES).fetch_all(&mut *moment).await?;
    let held: BTreeMap<Uuid, i64> = sums(sqlx::query_as(HELD), &mut moment).await?;
    let holding: Vec<Uuid> = sqlx::query_scalar(HOLDING).fetch_all(&mut *moment).await?;
    let since: Vec<Uuid> = sqlx::query_scalar(SOLD_SINCE)
        .bind(unended)
        .fetch_all(&mut *moment)
        .await?;
    moment.rollback().await?;

    let mut sold = sums(sqlx::query_as(CONFIRMED).bind(holding), &mut orders).await?;
    let later: Vec<Uuid> = sqlx::query_scalar(NOT_CONFIRMED)
        .bind(since)
        .fetch_all(&mut *orders)
        .await?;
    orders.rollback().await?;
    for (product, units) in sums(sqlx::query_as(CONFIRMED_OF).bind(later), order).await? {
        *sold.entry(product).or_default() += units;
    }
    let mut found = Vec::new();
    let mut say = |product: Uuid, detail: String| {
        let subject = format!("product {product}");
        found.push(Finding::new(Class::Unbalanced, "shelf", subject, detail));
    };
    let looked_at = shelves.len();
    for (product, received, on_hand, held_here, sold_here) in shelves {
        let shelf = Shelf {
            received,
            on_hand,
            held: held_here,
            sold: sold_here,
        };
        let expected = sold.remove(&product).unwrap_or_default();
        let held = held.get(&product).copied().unwrap_or_default();
        for detail in shelf.discrepancies(held, expected) {
            say(product, detail);
        }
    }
    for (product, units) in sold {
        say(product, format!("{units} were sold, and there is no shelf"));
    }
    Ok((looked_at, found))
}

async fn sums(
    statement: QueryAs<'_, Postgres, (Uuid, i64), PgArguments>,
    connection: &mut PgConnection,
) -> Result<BTreeMap<Uuid, i64>, sqlx::Error> {
    Ok(statement.fetch_all(connection).await?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_is_held_against_something() {
        let right = Shelf {
            received: 10,
            on_hand: 6,
            held: 1,
            sold: 3,
        };
        assert_eq!(right.discrepancies(1, 3), Vec::<String>::new());
        for (shelf, expected) in [
            (
                Shelf {
                    received: 11,
                    ..right
                },
                "on hand + held + sold is 10 instead of 11",
            ),
            (
                Shelf {
                    held: 2,
                    on_hand: 5,
                    ..right
                },
                "held is 2 instead of 1",
            ),
            (
                Shelf {
                    sold: 4,
                    on_hand: 5,
                    ..right
                },
                "sold is 4 instead of 3",
            ),
        ] {
            let found = shelf.discrepancies(1, 3);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(expected), "{found:?}");
        }
    }
}
