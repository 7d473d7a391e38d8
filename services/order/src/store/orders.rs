use std::time::Duration;

use chrono::{DateTime, Utc};
use quadrille_contracts::OrderId;
use quadrille_contracts::order::{CancelReason, Line};
use saga_core::{Money, Participant};
use saga_runtime::metrics as names;
use saga_runtime::store::{Rows, Saved};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::participant::{Held, Method, Order, Orders, Placed};

const INSERT_ABSENT: &str = "\
insert into orders (id) select id from unnest($1::uuid[]) as k (id) order by id on conflict do nothing";

const LOCK: &str = "\
select id, status, owner, lines, total_minor, currency, method, page_url, reason, money
  from orders where id = any($1) order by id for update";

// An order is created when its row gets a status, however long the row was there to be locked. It ends once:
// what comes after its end does not move that instant. Those that end here are returned, with their age.
const SAVE: &str = "\
update orders o
   set status = n.status, owner = n.owner, lines = n.lines, total_minor = n.total_minor, currency = n.currency,
       method = n.method, page_url = n.page_url, reason = n.reason, money = n.money, version = o.version + 1,
       created_at = case when o.status is null then $12 else o.created_at end, updated_at = $12,
       ended_at = case when n.ended then coalesce(o.ended_at, $12) end
  from unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::int8[], $6::text[], $7::text[], $8::text[],
              $9::text[], $10::text[], $11::bool[])
       as n (id, status, owner, lines, total_minor, currency, method, page_url, reason, money, ended)
 where o.id = n.id
returning o.ended_at = $12 as ends, (extract(epoch from $12 - o.created_at) * 1000)::int8 as age_ms";

const PRUNE: &str = "\
delete from orders where id = any(array(
    select id from orders where status is null and ended_at is null and created_at < $1 limit $2
       for update skip locked))";

/// The statements of this module.
pub(super) const ALL: &[(&str, &str)] = &[
    ("orders::insert_absent", INSERT_ABSENT),
    ("orders::lock", LOCK),
    ("orders::save", SAVE),
    ("orders::prune", PRUNE),
];

pub(super) async fn lock(
    tx: &mut PgConnection,
    keys: &[OrderId],
) -> Result<Rows<OrderId, Order>, sqlx::Error> {
    let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
    sqlx::query(INSERT_ABSENT).bind(&ids).execute(&mut *tx).await?;
    let rows: Vec<OrderRow> = sqlx::query_as(LOCK).bind(&ids).fetch_all(tx).await?;
    rows.into_iter()
        .map(|row| Ok((OrderId(row.id), row.order()?)))
        .collect()
}

pub(super) async fn save(
    tx: &mut PgConnection,
    sagas: &[Saved<Orders>],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let column = |of: fn(&Order) -> Option<&'static str>| -> Vec<Option<&str>> {
        sagas.iter().map(|saved| of(&saved.state)).collect()
    };
    let placed: Vec<Option<&Placed>> = sagas.iter().map(|saved| saved.state.placed()).collect();
    let rows: Vec<(Option<bool>, i64)> = sqlx::query_as(SAVE)
        .bind(sagas.iter().map(|saved| saved.key.0).collect::<Vec<_>>())
        .bind(column(status))
        .bind(
            placed
                .iter()
                .map(|order| Some(order.as_ref()?.owner.as_str()))
                .collect::<Vec<_>>(),
        )
        .bind(
            placed
                .iter()
                .map(|order| Some(Json(&order.as_ref()?.lines)))
                .collect::<Vec<_>>(),
        )
        .bind(
            placed
                .iter()
                .map(|order| Some(order.as_ref()?.total.minor))
                .collect::<Vec<_>>(),
        )
        .bind(
            placed
                .iter()
                .map(|order| Some(order.as_ref()?.total.currency.code()))
                .collect::<Vec<_>>(),
        )
        .bind(
            placed
                .iter()
                .map(|order| Some(method(order.as_ref()?.method)))
                .collect::<Vec<_>>(),
        )
        .bind(
            placed
                .iter()
                .map(|order| order.as_ref()?.page_url.as_deref())
                .collect::<Vec<_>>(),
        )
        .bind(column(reason))
        .bind(column(money))
        .bind(sagas.iter().map(|saved| saved.ended).collect::<Vec<_>>())
        .bind(now)
        .fetch_all(tx)
        .await?;
    let ages = rows.iter().filter(|(ends, _)| *ends == Some(true));
    for age_ms in ages.filter_map(|(_, age_ms)| u64::try_from(*age_ms).ok()) {
        metrics::histogram!(names::SAGA_SECONDS, "participant" => Orders::NAME)
            .record(Duration::from_millis(age_ms));
    }
    Ok(())
}

pub(super) async fn prune(
    tx: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let pruned = sqlx::query(PRUNE).bind(before).bind(limit).execute(tx).await?;
    Ok(pruned.rows_affected())
}

/// The columns that make an order.
#[derive(Debug, FromRow)]
pub(super) struct OrderRow {
    pub(super) id: Uuid,
    status: Option<String>,
    owner: Option<String>,
    lines: Option<Json<Vec<Line>>>,
    total_minor: Option<i64>,
    currency: Option<String>,
    method: Option<String>,
    page_url: Option<String>,
    reason: Option<String>,
    money: Option<String>,
}

impl OrderRow {
    pub(super) fn order(self) -> Result<Order, sqlx::Error> {
        let Some(status) = self.status else {
            return Ok(Order::Absent);
        };
        let strange = |column: &str| {
            let what = format!("order {} has a {column} that this build does not know", self.id);
            sqlx::Error::Decode(what.into())
        };
        let placed = Placed {
            order_id: OrderId(self.id),
            owner: self.owner.ok_or_else(|| strange("owner"))?,
            lines: self.lines.ok_or_else(|| strange("list of lines"))?.0,
            total: self
                .total_minor
                .zip(self.currency.and_then(|code| code.parse().ok()))
                .map(|(minor, currency)| Money::new(minor, currency))
                .ok_or_else(|| strange("total"))?,
            method: match self.method.as_deref() {
                Some("card") => Method::Card,
                Some("hosted_page") => Method::HostedPage,
                _ => return Err(strange("method of payment")),
            },
            page_url: self.page_url,
        };
        let reason = || match self.reason.as_deref() {
            Some("payment_failed") => Ok(CancelReason::PaymentFailed),
            Some("payment_expired") => Ok(CancelReason::PaymentExpired),
            Some("customer") => Ok(CancelReason::Customer),
            Some("deadline") => Ok(CancelReason::Deadline),
            _ => Err(strange("reason")),
        };
        Ok(match status.as_str() {
            "pending" => Order::Pending { placed },
            "confirmed" => Order::Confirmed { placed },
            "rejected" => Order::Rejected { placed },
            "cancelled" => Order::Cancelled {
                placed,
                reason: reason()?,
                money: match self.money.as_deref() {
                    Some("unknown") => Held::Unknown,
                    Some("nothing") => Held::Nothing,
                    Some("owed") => Held::Owed,
                    _ => return Err(strange("place of its money")),
                },
            },
            "refunded" => Order::Refunded {
                placed,
                reason: reason()?,
            },
            _ => return Err(strange("status")),
        })
    }
}

fn status(order: &Order) -> Option<&'static str> {
    Some(match order {
        Order::Absent => return None,
        Order::Pending { .. } => "pending",
        Order::Confirmed { .. } => "confirmed",
        Order::Rejected { .. } => "rejected",
        Order::Cancelled { .. } => "cancelled",
        Order::Refunded { .. } => "refunded",
    })
}

fn reason(order: &Order) -> Option<&'static str> {
    Some(match order.cancel_reason()? {
        CancelReason::PaymentFailed => "payment_failed",
        CancelReason::PaymentExpired => "payment_expired",
        CancelReason::Customer => "customer",
        CancelReason::Deadline => "deadline",
    })
}

fn money(order: &Order) -> Option<&'static str> {
    match order {
        Order::Cancelled { money, .. } => Some(match money {
            Held::Unknown => "unknown",
            Held::Nothing => "nothing",
            Held::Owed => "owed",
        }),
        Order::Absent
        | Order::Pending { .. }
        | Order::Confirmed { .. }
        | Order::Rejected { .. }
        | Order::Refunded { .. } => None,
    }
}

fn method(method: Method) -> &'static str {
    match method {
        Method::Card => "card",
        Method::HostedPage => "hosted_page",
    }
}
