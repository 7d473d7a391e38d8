use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{Store, StoreError, failed};
use crate::ids::WebhookId;

pub(super) const TELL: &str = "insert into webhook (id, type, reference, body) values ($1, $2, $3, $4)";

/// Takes what is due. Until the lease is over nobody else takes it; if we die, it is due again then.
const CLAIM: &str = "
update webhook set attempts = attempts + 1, due_at = now() + make_interval(secs => $1)
where id in (select id from webhook where due_at <= now() and reference <> all($3)
             order by due_at limit $2 for update skip locked)
returning id, body, attempts";

const DELIVERED: &str =
    "update webhook set due_at = null, delivered_at = now(), last_answer = $2 where id = $1";

/// Null: no further attempt.
const FAILED: &str = "update webhook set due_at = now() + make_interval(secs => $2), last_answer = $3
    where id = $1 and delivered_at is null";

const RESEND: &str = "update webhook set due_at = now(), attempts = 0, delivered_at = null where id = $1";

const LIST: &str = "
select id, type as kind, reference, attempts, due_at, delivered_at, last_answer, created_at
from webhook where ($1::text is null or reference = $1) and ($2::uuid is null or id > $2)
order by id limit $3";

const PENDING: &str = "select count(*) from webhook where due_at is not null";

const PRUNE: &str = "delete from webhook where id in (
    select id from webhook where due_at is null and created_at < now() - make_interval(secs => $1) limit 10000)";

pub(super) const ALL: &[(&str, &str)] = &[
    ("TELL", TELL),
    ("CLAIM", CLAIM),
    ("DELIVERED", DELIVERED),
    ("FAILED", FAILED),
    ("RESEND", RESEND),
    ("LIST", LIST),
    ("PENDING", PENDING),
    ("PRUNE", PRUNE),
];

/// A webhook that is due.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) id: WebhookId,
    pub(crate) body: String,
    /// This one included.
    pub(crate) attempts: i32,
}

/// A webhook as an operator sees it.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub(crate) struct Webhook {
    #[sqlx(try_from = "Uuid")]
    pub(crate) id: WebhookId,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) reference: String,
    pub(crate) attempts: i32,
    /// When it is sent next; null when that is over.
    pub(crate) due_at: Option<DateTime<Utc>>,
    /// Null, and `due_at` null as well: given up.
    pub(crate) delivered_at: Option<DateTime<Utc>>,
    pub(crate) last_answer: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
}

impl From<Uuid> for WebhookId {
    fn from(id: Uuid) -> WebhookId {
        WebhookId(id)
    }
}

impl Store {
    /// Takes up to `limit` webhooks that are due and not held, for as long as `lease`.
    pub(crate) async fn claim_webhooks(
        &self,
        lease: Duration,
        limit: i64,
        held: &[String],
    ) -> Result<Vec<Due>, StoreError> {
        let due: Vec<(Uuid, String, i32)> = sqlx::query_as(CLAIM)
            .bind(lease.as_secs_f64())
            .bind(limit)
            .bind(held)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("claiming webhooks", ""))?;
        Ok(due
            .into_iter()
            .map(|(id, body, attempts)| Due {
                id: WebhookId(id),
                body,
                attempts,
            })
            .collect())
    }

    /// The merchant took it.
    pub(crate) async fn webhook_delivered(&self, id: WebhookId, answer: &str) -> Result<(), StoreError> {
        let done = sqlx::query(DELIVERED)
            .bind(id.0)
            .bind(answer)
            .execute(&self.pool)
            .await;
        done.map_err(failed("noting a webhook as delivered", id))?;
        Ok(())
    }

    /// The merchant did not take it. `None` gives it up.
    pub(crate) async fn webhook_failed(
        &self,
        id: WebhookId,
        again_in: Option<Duration>,
        answer: &str,
    ) -> Result<(), StoreError> {
        let pause = again_in.map(|pause| pause.as_secs_f64());
        let done = sqlx::query(FAILED)
            .bind(id.0)
            .bind(pause)
            .bind(answer)
            .execute(&self.pool)
            .await;
        done.map_err(failed("noting a webhook as failed", id))?;
        Ok(())
    }

    /// Makes it due again, whatever became of it; `false` if there is none.
    pub(crate) async fn resend_webhook(&self, id: WebhookId) -> Result<bool, StoreError> {
        let done = sqlx::query(RESEND).bind(id.0).execute(&self.pool).await;
        Ok(done
            .map_err(failed("sending a webhook again", id))?
            .rows_affected()
            > 0)
    }

    /// Webhooks in the order of their making.
    pub(crate) async fn webhooks(
        &self,
        reference: Option<&str>,
        after: Option<WebhookId>,
        limit: i64,
    ) -> Result<Vec<Webhook>, StoreError> {
        let found = sqlx::query_as(LIST)
            .bind(reference)
            .bind(after.map(|id| id.0))
            .bind(limit);
        found
            .fetch_all(&self.pool)
            .await
            .map_err(failed("listing webhooks", reference.unwrap_or("all")))
    }

    /// How many are not over yet.
    pub(crate) async fn webhooks_pending(&self) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar(PENDING).fetch_one(&self.pool).await;
        count.map_err(failed("counting webhooks", ""))
    }

    /// Removes those that are over and older than `age`, some thousand at a time; returns how many.
    pub(crate) async fn prune_webhooks(&self, age: Duration) -> Result<u64, StoreError> {
        let done = sqlx::query(PRUNE)
            .bind(age.as_secs_f64())
            .execute(&self.pool)
            .await;
        Ok(done.map_err(failed("pruning webhooks", ""))?.rows_affected())
    }
}
