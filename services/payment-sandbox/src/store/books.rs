use serde::{Deserialize, Serialize};

use super::{Store, StoreError, failed};

/// Refunds are counted from their own rows, not from the sum beside the charge: books that are kept twice
/// are there to be compared.
const BY_REFERENCE: &str = "
with paged as (
    select distinct reference from charge
    where ($1::text is null or reference = $1) and ($2::text is null or reference > $2)
    order by reference limit $3
), refunded as (
    select charge_id, sum(amount_minor) as minor, count(*) as refunds
    from refund where charge_id in (select id from charge join paged using (reference)) group by charge_id
)
select reference, currency,
       coalesce(sum(amount_minor) filter (where status = 'succeeded'), 0)::bigint as captured_minor,
       coalesce(sum(minor), 0)::bigint as refunded_minor,
       count(*) filter (where status = 'succeeded') as charges,
       count(*) filter (where status = 'declined') as declined,
       coalesce(sum(refunds), 0)::bigint as refunds
from charge join paged using (reference) left join refunded on charge_id = id
group by reference, currency order by reference, currency";

const TOTALS: &str = "
select currency,
       coalesce(sum(amount_minor) filter (where status = 'succeeded'), 0)::bigint as captured_minor,
       coalesce((select sum(refund.amount_minor) from refund join charge paid on paid.id = charge_id
                 where paid.currency = charge.currency), 0)::bigint as refunded_minor,
       count(*) filter (where status = 'succeeded') as charges,
       count(*) filter (where status = 'declined') as declined
from charge group by currency order by currency";

pub(super) const ALL: &[(&str, &str)] = &[("BY_REFERENCE", BY_REFERENCE), ("TOTALS", TOTALS)];

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
    /// The books of one reference, or of up to `limit` references after `after`, in their order.
    pub(crate) async fn books(
        &self,
        reference: Option<&str>,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Books>, StoreError> {
        let found = sqlx::query_as(BY_REFERENCE)
            .bind(reference)
            .bind(after)
            .bind(limit);
        found
            .fetch_all(&self.pool)
            .await
            .map_err(failed("reading the books", reference.unwrap_or("all")))
    }

    /// The sums per currency.
    pub(crate) async fn totals(&self) -> Result<Vec<Totals>, StoreError> {
        sqlx::query_as(TOTALS)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("adding up the books", ""))
    }
}
