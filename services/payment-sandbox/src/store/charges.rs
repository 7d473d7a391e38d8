use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{Recalled, Store, StoreError, failed};
use crate::idempotency::Once;
use crate::ids::ChargeId;

/// Books charges that arrived together and remembers their keys, in one transaction, one round trip.
///
/// A key that is known books nothing; its first answer is returned. If that was committed after our
/// snapshot, by another process, then the row is returned with nulls: the caller should ask again.
const BOOK: &str = "
with asked as (
    select * from unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[],
                         $7::text[], $8::bytea[], $9::text[])
        as asked (id, reference, amount_minor, currency, token, decline_code, key, fingerprint, body)
), remembered as (
    insert into idempotency_key (key, fingerprint, reference, made, body)
    select key, fingerprint, reference, id, body from asked
    on conflict (key) do nothing
    returning made
), booked as (
    insert into charge (id, reference, amount_minor, currency, token, status, decline_code)
    select id, reference, amount_minor, currency, token,
           case when decline_code is null then 'succeeded' else 'declined' end, decline_code
    from asked where id in (select made from remembered)
)
select asked.id, known.fingerprint, known.body
from asked left join idempotency_key known on known.key = asked.key
where asked.id not in (select made from remembered)";

/// The charge with this reference; the one that succeeded, if several were made.
const FIND: &str = "
select id, reference, amount_minor, currency, token, status, decline_code, refunded_minor, created_at
from charge where reference = $1 order by status = 'succeeded' desc, id limit 1";

const FIND_BY_ID: &str = "
select id, reference, amount_minor, currency, token, status, decline_code, refunded_minor, created_at
from charge where id = $1";

pub(super) const ALL: &[(&str, &str)] = &[("BOOK", BOOK), ("FIND", FIND), ("FIND_BY_ID", FIND_BY_ID)];

/// A charge to be booked.
#[derive(Debug, Clone)]
pub(crate) struct NewCharge {
    pub(crate) id: ChargeId,
    pub(crate) reference: String,
    pub(crate) amount_minor: i64,
    pub(crate) currency: String,
    pub(crate) token: String,
    pub(crate) decline_code: Option<&'static str>,
    pub(crate) once: Once,
    /// The answer, which is stored with it.
    pub(crate) body: String,
}

/// What became of something that is booked once per key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Booked {
    /// It is in the books.
    New,
    /// The key is known; this was its first answer.
    Known(Recalled),
    /// The key became known just now; asking again will tell.
    Busy,
}

/// A charge in the books.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub(crate) struct Charge {
    #[sqlx(try_from = "Uuid")]
    pub(crate) id: ChargeId,
    pub(crate) reference: String,
    pub(crate) amount_minor: i64,
    pub(crate) currency: String,
    #[serde(skip)]
    pub(crate) token: Option<String>,
    pub(crate) status: String,
    pub(crate) decline_code: Option<String>,
    pub(crate) refunded_minor: i64,
    pub(crate) created_at: DateTime<Utc>,
}

impl From<Uuid> for ChargeId {
    fn from(id: Uuid) -> ChargeId {
        ChargeId(id)
    }
}

impl Store {
    /// Books charges together; the result is in their order.
    pub(crate) async fn book(&self, charges: &[NewCharge]) -> Result<Vec<Booked>, StoreError> {
        fn column<'a, T>(charges: &'a [NewCharge], of: impl Fn(&'a NewCharge) -> T) -> Vec<T> {
            charges.iter().map(of).collect()
        }
        let known: Vec<(Uuid, Option<Vec<u8>>, Option<String>)> = sqlx::query_as(BOOK)
            .bind(column(charges, |charge| charge.id.0))
            .bind(column(charges, |charge| charge.reference.as_str()))
            .bind(column(charges, |charge| charge.amount_minor))
            .bind(column(charges, |charge| charge.currency.as_str()))
            .bind(column(charges, |charge| charge.token.as_str()))
            .bind(column(charges, |charge| charge.decline_code))
            .bind(column(charges, |charge| charge.once.key.as_str()))
            .bind(column(charges, |charge| charge.once.fingerprint.as_slice()))
            .bind(column(charges, |charge| charge.body.as_str()))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("booking charges", charges.len()))?;
        let mut outcomes = vec![Booked::New; charges.len()];
        for (id, fingerprint, body) in known {
            let outcome = match (fingerprint, body) {
                (Some(fingerprint), Some(body)) => Booked::Known(Recalled { fingerprint, body }),
                _ => Booked::Busy,
            };
            if let Some(index) = charges.iter().position(|charge| charge.id.0 == id) {
                outcomes[index] = outcome;
            }
        }
        Ok(outcomes)
    }

    /// The charge with this reference, if there is one.
    pub(crate) async fn charge(&self, reference: &str) -> Result<Option<Charge>, StoreError> {
        let found = sqlx::query_as(FIND)
            .bind(reference)
            .fetch_optional(&self.pool)
            .await;
        found.map_err(failed("looking for a charge", reference))
    }

    /// The charge with this id, if there is one.
    pub(crate) async fn charge_by_id(&self, id: ChargeId) -> Result<Option<Charge>, StoreError> {
        let found = sqlx::query_as(FIND_BY_ID)
            .bind(id.0)
            .fetch_optional(&self.pool)
            .await;
        found.map_err(failed("looking for a charge", id))
    }
}
