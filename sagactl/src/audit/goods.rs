//! Shelves: what is held is what orders hold, and what is sold is what was confirmed.
//!
//! Two databases have no common snapshot, and orders go on. So the shelves are read at one moment, together with the
//! orders that hold something then and those that were sold lately; and of the orders that are confirmed later, only
//! those count that were sold by that moment.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::finding::{Class, Finding};

const SHELVES: &str = "select product_id, received, on_hand, held, sold from shelf";

const HELD: &str = "\
select l.product_id, sum(l.quantity)::int8
  from hold, jsonb_to_recordset(lines) as l (product_id uuid, quantity int8)
 where state = 'held' group by l.product_id";

const HOLDING: &str = "select order_id from hold where state = 'held'";

/// The clocks of processes and servers may differ by less than this.
const SOLD_LATELY: &str = "\
select order_id from hold where state = 'sold' and ended_at > clock_timestamp() - interval '15 minutes'";

const CLOCK: &str = "select clock_timestamp() - interval '5 minutes'";

const SOLD: &str = "\
select l.product_id, sum(l.quantity)::int8
  from orders o, jsonb_to_recordset(o.lines) as l (product_id uuid, quantity int8)
 where o.status = 'confirmed'
   and case when o.updated_at < $1
            then not exists (select from unnest($2::uuid[]) as holding (id) where holding.id = o.id)
            else exists (select from unnest($3::uuid[]) as lately (id) where lately.id = o.id) end
 group by l.product_id";

pub(super) const OF_SERVICES: &[(&str, &str, &str)] = &[
    ("inventory", "shelves", SHELVES),
    ("inventory", "held", HELD),
    ("inventory", "holding", HOLDING),
    ("inventory", "sold_lately", SOLD_LATELY),
    ("inventory", "clock", CLOCK),
    ("order", "sold", SOLD),
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
    let before: DateTime<Utc> = sqlx::query_scalar(CLOCK).fetch_one(&mut *order).await?;
    let mut moment = inventory
        .begin_with("begin isolation level repeatable read read only")
        .await?;
    let shelves: Vec<(Uuid, i64, i64, i64, i64)> = sqlx::query_as(SHELVES).fetch_all(&mut *moment).await?;
    let held = sums(&mut moment, HELD).await?;
    let holding: Vec<Uuid> = sqlx::query_scalar(HOLDING).fetch_all(&mut *moment).await?;
    let lately: Vec<Uuid> = sqlx::query_scalar(SOLD_LATELY).fetch_all(&mut *moment).await?;
    moment.rollback().await?;

    let mut sold = BTreeMap::new();
    let mut rows = sqlx::query_as(SOLD)
        .bind(before)
        .bind(holding)
        .bind(lately)
        .fetch(order);
    while let Some((product, units)) = rows.try_next().await? {
        let (product, units): (Uuid, i64) = (product, units);
        sold.insert(product, units);
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
    connection: &mut PgConnection,
    statement: &'static str,
) -> Result<BTreeMap<Uuid, i64>, sqlx::Error> {
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(statement).fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
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
