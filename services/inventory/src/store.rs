use std::error::Error;

use chrono::{DateTime, Utc};
use quadrille_contracts::stock::Quantity;
use quadrille_contracts::{OrderId, ProductId};
use saga_runtime::Store;
use saga_runtime::store::{Rows, Saved};
use sqlx::migrate::Migrator;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::participant::{Closing, Hold, Inventory, Shelf};

/// The service's own tables.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/inventory");

// `for update` locks nothing where no row is, so default rows come first. They are sorted, as everybody's
// are: two transactions that insert the same rows in another order would wait for each other.
const INSERT_HOLDS: &str = "\
insert into hold (order_id) select order_id from unnest($1::uuid[]) as k (order_id) order by order_id
    on conflict do nothing";

const LOCK_HOLDS: &str = "\
select order_id, state, lines from hold where order_id = any($1::uuid[]) order by order_id for update";

const INSERT_SHELVES: &str = "\
insert into shelf (product_id) select product_id from unnest($1::uuid[]) as k (product_id) order by product_id
    on conflict do nothing";

const LOCK_SHELVES: &str = "\
select product_id, received, on_hand, held, sold
  from shelf where product_id = any($1::uuid[]) order by product_id for update";

const SAVE_HOLDS: &str = "\
update hold h set state = s.state, lines = s.lines, ended_at = case when s.ended then coalesce(h.ended_at, $5) end
  from unnest($1::uuid[], $2::text[], $3::jsonb[], $4::bool[]) as s (order_id, state, lines, ended)
 where h.order_id = s.order_id";

const SAVE_SHELVES: &str = "\
update shelf h set received = s.received, on_hand = s.on_hand, held = s.held, sold = s.sold
  from unnest($1::uuid[], $2::int8[], $3::int8[], $4::int8[], $5::int8[]) as s (product_id, received, on_hand, held, sold)
 where h.product_id = s.product_id";

// What is parked may still be replayed, and then the barrier has to be there. It is counted, since `not exists` becomes
// a join, and planned on empty tables a join that compares each hold with all that is parked.
const PRUNE: &str = "\
delete from hold where order_id in (
    select h.order_id from hold h
     where h.ended_at < $1
       and (select count(*) from saga.parked_key k where k.participant = 'inventory' and k.key = h.order_id::text) = 0
     order by h.ended_at limit $2 for update of h skip locked)";

const SHELF: &str = "\
select product_id, received, on_hand, held, sold from shelf where product_id = $1 and received > 0";

/// Every statement with its name.
pub const ALL: &[(&str, &str)] = &[
    ("insert_holds", INSERT_HOLDS),
    ("lock_holds", LOCK_HOLDS),
    ("insert_shelves", INSERT_SHELVES),
    ("lock_shelves", LOCK_SHELVES),
    ("save_holds", SAVE_HOLDS),
    ("save_shelves", SAVE_SHELVES),
    ("prune", PRUNE),
    ("shelf", SHELF),
];

/// Inventory's tables.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tables;

/// The stock of a product; `None` if none of it ever came in.
///
/// # Errors
/// If the database does not answer, or holds what cannot be.
pub async fn shelf(pool: &PgPool, product_id: ProductId) -> Result<Option<Shelf>, sqlx::Error> {
    let row: Option<ShelfRow> = sqlx::query_as(SHELF)
        .bind(product_id.0)
        .fetch_optional(pool)
        .await?;
    row.map(|row| row.shelf()).transpose()
}

impl Store<Inventory> for Tables {
    async fn load(
        &self,
        tx: &mut PgConnection,
        keys: &[OrderId],
    ) -> Result<Rows<OrderId, Hold>, sqlx::Error> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        sqlx::query(INSERT_HOLDS).bind(&ids).execute(&mut *tx).await?;
        let rows: Vec<HoldRow> = sqlx::query_as(LOCK_HOLDS).bind(ids).fetch_all(tx).await?;
        rows.into_iter()
            .map(|row| Ok((OrderId(row.order_id), row.hold()?)))
            .collect()
    }

    async fn load_shared(
        &self,
        tx: &mut PgConnection,
        keys: &[ProductId],
    ) -> Result<Rows<ProductId, Option<Shelf>>, sqlx::Error> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        sqlx::query(INSERT_SHELVES).bind(&ids).execute(&mut *tx).await?;
        let rows: Vec<ShelfRow> = sqlx::query_as(LOCK_SHELVES).bind(ids).fetch_all(tx).await?;
        rows.into_iter()
            .map(|row| {
                let shelf = row.shelf()?;
                Ok((ProductId(row.product_id), (shelf.received > 0).then_some(shelf)))
            })
            .collect()
    }

    async fn save(
        &self,
        tx: &mut PgConnection,
        sagas: &[Saved<Inventory>],
        shared: &[(ProductId, Shelf)],
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        if !sagas.is_empty() {
            save_holds(&mut *tx, sagas, now).await?;
        }
        if !shared.is_empty() {
            save_shelves(tx, shared).await?;
        }
        Ok(())
    }

    async fn prune(
        &self,
        tx: &mut PgConnection,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, sqlx::Error> {
        let pruned = sqlx::query(PRUNE).bind(before).bind(limit).execute(tx).await?;
        Ok(pruned.rows_affected())
    }
}

async fn save_holds(
    tx: &mut PgConnection,
    sagas: &[Saved<Inventory>],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let mut states = Vec::with_capacity(sagas.len());
    let mut lines = Vec::with_capacity(sagas.len());
    for saga in sagas {
        let (state, held) = match &saga.state {
            Hold::Absent => ("absent", None),
            Hold::Held { lines } => ("held", Some(Json(lines))),
            Hold::Closed(Closing::Rejected) => ("rejected", None),
            Hold::Closed(Closing::Sold) => ("sold", None),
            Hold::Closed(Closing::Cancelled) => ("cancelled", None),
        };
        states.push(state);
        lines.push(held);
    }
    let ids: Vec<Uuid> = sagas.iter().map(|saga| saga.key.0).collect();
    let ended: Vec<bool> = sagas.iter().map(|saga| saga.ended).collect();
    sqlx::query(SAVE_HOLDS)
        .bind(ids)
        .bind(states)
        .bind(lines)
        .bind(ended)
        .bind(now)
        .execute(tx)
        .await?;
    Ok(())
}

async fn save_shelves(tx: &mut PgConnection, shelves: &[(ProductId, Shelf)]) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = shelves.iter().map(|(key, _)| key.0).collect();
    let column = |units: fn(&Shelf) -> u64| -> Result<Vec<i64>, sqlx::Error> {
        shelves
            .iter()
            .map(|(_, shelf)| i64::try_from(units(shelf)).map_err(|error| sqlx::Error::Encode(error.into())))
            .collect()
    };
    sqlx::query(SAVE_SHELVES)
        .bind(ids)
        .bind(column(|shelf| shelf.received)?)
        .bind(column(|shelf| shelf.on_hand)?)
        .bind(column(|shelf| shelf.held)?)
        .bind(column(|shelf| shelf.sold)?)
        .execute(tx)
        .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct HoldRow {
    order_id: Uuid,
    state: String,
    lines: Option<Json<Vec<Quantity>>>,
}

impl HoldRow {
    fn hold(self) -> Result<Hold, sqlx::Error> {
        Ok(match (self.state.as_str(), self.lines) {
            ("absent", None) => Hold::Absent,
            ("held", Some(Json(lines))) => Hold::Held { lines },
            ("rejected", None) => Hold::Closed(Closing::Rejected),
            ("sold", None) => Hold::Closed(Closing::Sold),
            ("cancelled", None) => Hold::Closed(Closing::Cancelled),
            (state, _) => {
                return Err(impossible(format!(
                    "order {} has a hold '{state}'",
                    self.order_id
                )));
            }
        })
    }
}

#[derive(sqlx::FromRow)]
struct ShelfRow {
    product_id: Uuid,
    received: i64,
    on_hand: i64,
    held: i64,
    sold: i64,
}

impl ShelfRow {
    fn shelf(&self) -> Result<Shelf, sqlx::Error> {
        let units = |units: i64| {
            u64::try_from(units).map_err(|_| impossible(format!("shelf {} is overdrawn", self.product_id)))
        };
        Ok(Shelf {
            received: units(self.received)?,
            on_hand: units(self.on_hand)?,
            held: units(self.held)?,
            sold: units(self.sold)?,
        })
    }
}

/// What the table's constraints rule out, or another build has written.
fn impossible(what: String) -> sqlx::Error {
    sqlx::Error::Decode(Box::<dyn Error + Send + Sync>::from(what))
}
