use serde::{Deserialize, Serialize};

use super::{Store, StoreError, failed};

/// The books of some references. Refunds are counted from their own rows, not from the sum beside the
/// charge: books that are kept twice are there to be compared.
macro_rules! books_of {
    ($references:literal) => {
        concat!(
            "with wanted as (",
            $references,
            "), refunded as (
    select charge_id, sum(amount_minor) as minor, count(*) as refunds
    from refund where charge_id in (select id from charge join wanted using (reference)) group by charge_id
)
select reference, currency,
       coalesce(sum(amount_minor) filter (where status = 'succeeded'), 0)::bigint as captured_minor,
       coalesce(sum(minor), 0)::bigint as refunded_minor,
       count(*) filter (where status = 'succeeded') as charges,
       count(*) filter (where status = 'declined') as declined,
       coalesce(sum(refunds), 0)::bigint as refunds
from charge join wanted using (reference) left join refunded on charge_id = id
group by reference, currency order by reference, currency"
        )
    };
}

const OF_ONE: &str = books_of!("select $1::text as reference");

const OF_MANY: &str =
    books_of!("select distinct reference from charge where reference > $1 order by reference limit $2");

const TOTALS: &str = "
select currency,
       coalesce(sum(amount_minor) filter (where status = 'succeeded'), 0)::bigint as captured_minor,
       coalesce((select sum(refund.amount_minor) from refund join charge paid on paid.id = charge_id
                 where paid.currency = charge.currency), 0)::bigint as refunded_minor,
       count(*) filter (where status = 'succeeded') as charges,
       count(*) filter (where status = 'declined') as declined
from charge group by currency order by currency";

pub(super) const ALL: &[(&str, &str)] = &[("OF_ONE", OF_ONE), ("OF_MANY", OF_MANY), ("TOTALS", TOTALS)];

/// What was taken and given back under one reference in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Books {
    /// The merchant's reference.
    pub reference: String,
    /// ISO 4217.
    pub currency: String,
    /// The sum of the charges that succeeded.
    pub captured_minor: i64,
    /// The sum of their refunds.
    pub refunded_minor: i64,
    /// How many charges succeeded. More than one: somebody paid twice.
    pub charges: i64,
    /// How many were declined.
    pub declined: i64,
    /// How many refunds there were.
    pub refunds: i64,
}

/// The same over all references.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Totals {
    /// ISO 4217.
    pub currency: String,
    /// The sum of the charges that succeeded.
    pub captured_minor: i64,
    /// The sum of all refunds.
    pub refunded_minor: i64,
    /// How many charges succeeded.
    pub charges: i64,
    /// How many were declined.
    pub declined: i64,
}

impl Store {
    /// The books of one reference: an entry per currency.
    pub(crate) async fn books_of(&self, reference: &str) -> Result<Vec<Books>, StoreError> {
        let found = sqlx::query_as(OF_ONE).bind(reference).fetch_all(&self.pool).await;
        found.map_err(failed("reading the books", reference))
    }

    /// The books of up to `limit` references after `after`, in their order.
    pub(crate) async fn books(&self, after: &str, limit: i64) -> Result<Vec<Books>, StoreError> {
        let found = sqlx::query_as(OF_MANY)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.pool)
            .await;
        found.map_err(failed("reading the books", "all"))
    }

    /// The sums per currency.
    pub(crate) async fn totals(&self) -> Result<Vec<Totals>, StoreError> {
        sqlx::query_as(TOTALS)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("adding up the books", ""))
    }
}
