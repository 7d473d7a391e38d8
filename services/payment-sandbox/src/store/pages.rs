use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::keys::REMEMBER;
use super::webhooks::TELL;
use super::{Booked, Store, StoreError, failed};
use crate::idempotency::Once;
use crate::ids::{ChargeId, PageId, WebhookId};

const OPEN: &str = "insert into page (id, reference, amount_minor, currency, return_url, expires_at)
    values ($1, $2, $3, $4, $5, $6)";

/// A page past its time reads as expired, even before housekeeping has come by.
const FIND: &str = "
select id, reference, amount_minor, currency, return_url, expires_at,
       case when status = 'open' and expires_at <= now() then 'expired' else status end as status
from page where id = $1";

/// The page that counts, if a reference has several: the one that was paid, else the open one, else the
/// latest.
const FIND_BY_REFERENCE: &str = "
select id, reference, amount_minor, currency, return_url, expires_at,
       case when status = 'open' and expires_at <= now() then 'expired' else status end as status
from page where reference = $1
order by status = 'paid' desc, status = 'open' and expires_at > now() desc, created_at desc limit 1";

/// Ends an open page whose time is not over; the row lock decides between the customer and the clock.
const END: &str = "
update page set status = $2 where id = $1 and status = 'open' and expires_at > now()
returning id, reference, amount_minor, currency, return_url, expires_at, status";

const CHARGE: &str = "insert into charge (id, reference, amount_minor, currency, page_id, status)
    values ($1, $2, $3, $4, $5, 'succeeded')";

const CLOSE: &str = "
update page set status = 'closed' where reference = $1 and status = 'open' and expires_at > now()";

const EXPIRE: &str = "
update page set status = 'expired' where id in (
    select id from page where status = 'open' and expires_at <= now()
    order by expires_at limit 200 for update skip locked)
returning id, reference, amount_minor, currency, return_url, expires_at, status";

pub(super) const ALL: &[(&str, &str)] = &[
    ("OPEN", OPEN),
    ("FIND", FIND),
    ("FIND_BY_REFERENCE", FIND_BY_REFERENCE),
    ("END", END),
    ("CHARGE", CHARGE),
    ("CLOSE", CLOSE),
    ("EXPIRE", EXPIRE),
];

/// A page to be opened.
#[derive(Debug, Clone)]
pub(crate) struct NewPage {
    pub(crate) id: PageId,
    pub(crate) reference: String,
    pub(crate) amount_minor: i64,
    pub(crate) currency: String,
    pub(crate) return_url: Option<String>,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) once: Once,
    pub(crate) body: String,
}

/// A page in the books.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Page {
    #[sqlx(try_from = "Uuid")]
    pub(crate) id: PageId,
    pub(crate) reference: String,
    pub(crate) amount_minor: i64,
    pub(crate) currency: String,
    pub(crate) return_url: Option<String>,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) status: String,
}

impl From<Uuid> for PageId {
    fn from(id: Uuid) -> PageId {
        PageId(id)
    }
}

/// What became of a customer's click.
#[derive(Debug, Clone)]
pub(crate) enum Paying {
    /// The page ended by it.
    Done(Page),
    /// It had ended before, in the way that it says.
    TooLate(Page),
    /// There is no such page.
    Unknown,
}

/// What became of the merchant's wish to close.
#[derive(Debug, Clone)]
pub(crate) enum Closing {
    /// What the page is now: `closed`, unless it had ended before.
    Is(Page),
    /// There is no such page.
    Unknown,
}

impl Store {
    /// Opens a page, once per key.
    pub(crate) async fn open_page(&self, page: &NewPage) -> Result<Booked, StoreError> {
        let failed = |cause| failed("opening a page", &page.reference)(cause);
        let mut tx = self.pool.begin().await.map_err(failed)?;
        let remembered = sqlx::query(REMEMBER)
            .bind(&page.once.key)
            .bind(&page.once.fingerprint)
            .bind(&page.reference)
            .bind(page.id.0)
            .bind(&page.body)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        if remembered.rows_affected() == 0 {
            tx.rollback().await.map_err(failed)?;
            return self.known(&page.once.key).await;
        }
        sqlx::query(OPEN)
            .bind(page.id.0)
            .bind(&page.reference)
            .bind(page.amount_minor)
            .bind(&page.currency)
            .bind(&page.return_url)
            .bind(page.expires_at)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(Booked::New)
    }

    /// The page with this id.
    pub(crate) async fn page(&self, id: PageId) -> Result<Option<Page>, StoreError> {
        let found = sqlx::query_as(FIND).bind(id.0).fetch_optional(&self.pool).await;
        found.map_err(failed("looking for a page", id))
    }

    /// The page with this reference.
    pub(crate) async fn page_by_reference(&self, reference: &str) -> Result<Option<Page>, StoreError> {
        let found = sqlx::query_as(FIND_BY_REFERENCE)
            .bind(reference)
            .fetch_optional(&self.pool)
            .await;
        found.map_err(failed("looking for a page", reference))
    }

    /// The customer pays (a charge is booked) or declines; either way the merchant is told.
    pub(crate) async fn decide_page(&self, id: PageId, pays: bool) -> Result<Paying, StoreError> {
        let failed = |cause| failed("ending a page", id)(cause);
        let mut tx = self.pool.begin().await.map_err(failed)?;
        let status = if pays { "paid" } else { "declined" };
        let ended: Option<Page> = sqlx::query_as(END)
            .bind(id.0)
            .bind(status)
            .fetch_optional(&mut *tx)
            .await
            .map_err(failed)?;
        let Some(page) = ended else {
            tx.rollback().await.map_err(failed)?;
            return Ok(self.page(id).await?.map_or(Paying::Unknown, Paying::TooLate));
        };
        let charge = pays.then(ChargeId::new);
        if let Some(charge) = charge {
            sqlx::query(CHARGE)
                .bind(charge.0)
                .bind(&page.reference)
                .bind(page.amount_minor)
                .bind(&page.currency)
                .bind(page.id.0)
                .execute(&mut *tx)
                .await
                .map_err(failed)?;
        }
        tell(&mut tx, &page, charge).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(Paying::Done(page))
    }

    /// The merchant withdraws what is open under this reference.
    pub(crate) async fn close_pages(&self, reference: &str) -> Result<Closing, StoreError> {
        sqlx::query(CLOSE)
            .bind(reference)
            .execute(&self.pool)
            .await
            .map_err(failed("closing a page", reference))?;
        Ok(self
            .page_by_reference(reference)
            .await?
            .map_or(Closing::Unknown, Closing::Is))
    }

    /// Expires some pages whose time is over, and tells the merchant; returns how many.
    pub(crate) async fn expire_pages(&self) -> Result<usize, StoreError> {
        let failed = |cause| failed("expiring pages", "")(cause);
        let mut tx: Transaction<'_, Postgres> = self.pool.begin().await.map_err(failed)?;
        let expired: Vec<Page> = sqlx::query_as(EXPIRE).fetch_all(&mut *tx).await.map_err(failed)?;
        for page in &expired {
            tell(&mut tx, page, None).await.map_err(failed)?;
        }
        tx.commit().await.map_err(failed)?;
        Ok(expired.len())
    }
}

/// Writes the webhook about a page's end, in the transaction that ends it.
async fn tell(tx: &mut PgConnection, page: &Page, charge: Option<ChargeId>) -> Result<(), sqlx::Error> {
    let kind = format!("page.{}", page.status);
    let body = json!({
        "type": kind,
        "timestamp": DateTime::<Utc>::from(std::time::SystemTime::now()),
        "data": {
            "page_id": page.id,
            "reference": page.reference,
            "status": page.status,
            "amount_minor": page.amount_minor,
            "currency": page.currency,
            "charge_id": charge,
        },
    });
    sqlx::query(TELL)
        .bind(WebhookId::new().0)
        .bind(kind)
        .bind(&page.reference)
        .bind(body.to_string())
        .execute(tx)
        .await?;
    Ok(())
}
