use serde::Serialize;
use uuid::Uuid;

use super::keys::REMEMBER;
use super::{Booked, Store, StoreError, failed};
use crate::idempotency::Once;
use crate::ids::{ChargeId, RefundId};

/// Takes the money back off a charge if there is enough left; the row lock makes refunds queue.
const TAKE: &str = "update charge set refunded_minor = refunded_minor + $2
    where id = $1 and status = 'succeeded' and amount_minor - refunded_minor >= $2";

const BOOK: &str = "insert into refund (id, charge_id, reference, amount_minor) values ($1, $2, $3, $4)";

const FIND: &str =
    "select id, charge_id, reference, amount_minor from refund where reference = $1 order by id limit 1";

pub(super) const ALL: &[(&str, &str)] = &[("TAKE", TAKE), ("BOOK", BOOK), ("FIND", FIND)];

/// A refund to be booked.
#[derive(Debug, Clone)]
pub(crate) struct NewRefund {
    pub(crate) id: RefundId,
    pub(crate) charge: ChargeId,
    pub(crate) reference: String,
    pub(crate) amount_minor: i64,
    pub(crate) once: Once,
    pub(crate) body: String,
}

/// What became of a [`NewRefund`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refunding {
    /// There was enough left of the charge, or the key is known.
    Done(Booked),
    /// There is not that much left of the charge.
    TooMuch,
}

/// A refund in the books.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Refund {
    pub(crate) id: RefundId,
    pub(crate) charge_id: ChargeId,
    pub(crate) reference: String,
    pub(crate) amount_minor: i64,
    /// Always `succeeded`: a refund that is refused leaves no trace.
    pub(crate) status: &'static str,
}

impl Store {
    /// Books a refund, once per key.
    pub(crate) async fn refund(&self, refund: &NewRefund) -> Result<Refunding, StoreError> {
        let failed = |cause| failed("booking a refund", &refund.reference)(cause);
        let mut tx = self.pool.begin().await.map_err(failed)?;
        let remembered = sqlx::query(REMEMBER)
            .bind(&refund.once.key)
            .bind(&refund.once.fingerprint)
            .bind(&refund.reference)
            .bind(refund.id.0)
            .bind(&refund.body)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        if remembered.rows_affected() == 0 {
            tx.rollback().await.map_err(failed)?;
            return Ok(Refunding::Done(self.known(&refund.once.key).await?));
        }
        let taken = sqlx::query(TAKE)
            .bind(refund.charge.0)
            .bind(refund.amount_minor)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        if taken.rows_affected() == 0 {
            tx.rollback().await.map_err(failed)?;
            return Ok(Refunding::TooMuch);
        }
        sqlx::query(BOOK)
            .bind(refund.id.0)
            .bind(refund.charge.0)
            .bind(&refund.reference)
            .bind(refund.amount_minor)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(Refunding::Done(Booked::New))
    }

    /// The refund with this reference, if there is one.
    pub(crate) async fn refund_by_reference(&self, reference: &str) -> Result<Option<Refund>, StoreError> {
        let found: Option<(Uuid, Uuid, String, i64)> = sqlx::query_as(FIND)
            .bind(reference)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("looking for a refund", reference))?;
        Ok(found.map(|(id, charge_id, reference, amount_minor)| Refund {
            id: RefundId(id),
            charge_id: ChargeId(charge_id),
            reference,
            amount_minor,
            status: "succeeded",
        }))
    }
}
