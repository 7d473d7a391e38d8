use chrono::{DateTime, Utc};
use quadrille_contracts::OrderId;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use super::orders::OrderRow;
use crate::participant::{Order, Status};

/// The columns of a [`ViewRow`], of `orders o`.
macro_rules! columns {
    () => {
        "o.id, o.status, o.owner, o.lines, o.total_minor, o.currency, o.method, o.page_url, o.reason, o.money, \
         o.version, o.created_at, o.updated_at, \
         exists (select from saga.parked_key k where k.participant = 'order' and k.key = o.id::text) as parked"
    };
}

const READ: &str = concat!(
    "select ",
    columns!(),
    " from orders o where o.id = any($1) and o.status is not null"
);

/// Where a page begins that has none before it.
macro_rules! before {
    () => {
        "(o.created_at, o.id) < (coalesce($2::timestamptz, 'infinity'), coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))"
    };
}

// Each status is a sorted list of its own, of which no more than a page is read.
const LIST: &str = concat!(
    "select p.* from unnest($1::text[]) as s (status) cross join lateral (select ",
    columns!(),
    " from orders o where o.status = s.status and ",
    before!(),
    " order by o.created_at desc, o.id desc limit $4) p order by p.created_at desc, p.id desc limit $4"
);

const LIST_OF_OWNER: &str = concat!(
    "select ",
    columns!(),
    " from orders o where o.status = any($1::text[]) and ",
    before!(),
    " and o.owner = $5 order by o.created_at desc, o.id desc limit $4"
);

const COUNT_IN_FLIGHT: &str = "select count(*) from orders where ended_at is null and status is not null";

/// The statements of this module.
pub(super) const ALL: &[(&str, &str)] = &[
    ("queries::read", READ),
    ("queries::list", LIST),
    ("queries::list_of_owner", LIST_OF_OWNER),
    ("queries::count_in_flight", COUNT_IN_FLIGHT),
];

/// An order as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its id.
    pub order_id: OrderId,
    /// The order, which was placed.
    pub order: Order,
    /// Grows with each change.
    pub version: i64,
    /// A message of its saga is parked, and an operator has to act.
    pub parked: bool,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
    /// When it changed last.
    pub updated_at: DateTime<Utc>,
}

/// Which orders are listed.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those of this owner.
    pub owner: Option<String>,
    /// Only those in this status.
    pub status: Option<Status>,
}

/// A place in a list: after this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// When it was placed.
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub order_id: OrderId,
}

/// Those of `keys` that were placed, in no order.
///
/// # Errors
/// If the database does not answer, or holds what cannot be.
pub async fn read(pool: &PgPool, keys: &[OrderId]) -> Result<Vec<View>, sqlx::Error> {
    let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
    views(sqlx::query_as(READ).bind(ids).fetch_all(pool).await?)
}

/// At most `limit` orders, newest first.
///
/// # Errors
/// As [`read`].
pub async fn list(
    pool: &PgPool,
    filter: &Filter,
    after: Option<Place>,
    limit: i64,
) -> Result<Vec<View>, sqlx::Error> {
    let statuses: Vec<String> = match filter.status {
        Some(status) => vec![status.to_string()],
        None => EVERY_STATUS.iter().map(ToString::to_string).collect(),
    };
    let query = match &filter.owner {
        None => sqlx::query_as(LIST),
        Some(_) => sqlx::query_as(LIST_OF_OWNER),
    };
    let query = query
        .bind(statuses)
        .bind(after.map(|place| place.created_at))
        .bind(after.map(|place| place.order_id.0))
        .bind(limit);
    let query = match &filter.owner {
        None => query,
        Some(owner) => query.bind(owner),
    };
    views(query.fetch_all(pool).await?)
}

/// How many orders have not ended.
///
/// # Errors
/// If the database does not answer.
pub async fn count_in_flight(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(COUNT_IN_FLIGHT).fetch_one(pool).await
}

const EVERY_STATUS: [Status; 5] = [
    Status::Pending,
    Status::Confirmed,
    Status::Rejected,
    Status::Cancelled,
    Status::Refunded,
];

#[derive(Debug, FromRow)]
struct ViewRow {
    #[sqlx(flatten)]
    order: OrderRow,
    version: i64,
    parked: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

fn views(rows: Vec<ViewRow>) -> Result<Vec<View>, sqlx::Error> {
    rows.into_iter()
        .map(|row| {
            Ok(View {
                order_id: OrderId(row.order.id),
                version: row.version,
                parked: row.parked,
                created_at: row.created_at,
                updated_at: row.updated_at,
                order: row.order.order()?,
            })
        })
        .collect()
}
