use std::time::Duration;

use uuid::Uuid;

use super::{Booked, Store, StoreError, failed};

const RECALL: &str = "select fingerprint, made, body from idempotency_key where key = $1";

/// Remembers a key, or finds out that it is known.
pub(super) const REMEMBER: &str = "insert into idempotency_key (key, fingerprint, reference, made, body)
    values ($1, $2, $3, $4, $5) on conflict (key) do nothing";

const FORGET: &str = "delete from idempotency_key where $1::text is null or reference = $1";

const PRUNE: &str = "delete from idempotency_key where key in (
    select key from idempotency_key where created_at < now() - make_interval(secs => $1) limit 10000)";

pub(super) const ALL: &[(&str, &str)] = &[
    ("RECALL", RECALL),
    ("REMEMBER", REMEMBER),
    ("FORGET", FORGET),
    ("PRUNE", PRUNE),
];

/// The first answer to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recalled {
    /// What was asked for then.
    pub(crate) fingerprint: Vec<u8>,
    /// The body of the answer, byte by byte. Its status was 200: nothing else is stored.
    pub(crate) body: String,
}

impl Store {
    /// The first answer to this key, if it is still known.
    pub(crate) async fn recall(&self, key: &str) -> Result<Option<Recalled>, StoreError> {
        let found: Option<(Vec<u8>, Uuid, String)> = sqlx::query_as(RECALL)
            .bind(key)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("recalling an idempotency key", key))?;
        Ok(found.map(|(fingerprint, _, body)| Recalled { fingerprint, body }))
    }

    /// What a key that could not be remembered stands for: its first answer. Unless somebody had it
    /// forgotten just now; then asking again will tell.
    pub(super) async fn known(&self, key: &str) -> Result<Booked, StoreError> {
        Ok(self.recall(key).await?.map_or(Booked::Busy, Booked::Known))
    }

    /// Forgets the keys of one reference, or all; returns how many.
    pub(crate) async fn forget(&self, reference: Option<&str>) -> Result<u64, StoreError> {
        let done = sqlx::query(FORGET).bind(reference).execute(&self.pool).await;
        Ok(done
            .map_err(failed("forgetting idempotency keys", reference.unwrap_or("all")))?
            .rows_affected())
    }

    /// Forgets keys that are older than `age`, some thousand at a time; returns how many.
    pub(crate) async fn prune_keys(&self, age: Duration) -> Result<u64, StoreError> {
        let done = sqlx::query(PRUNE)
            .bind(age.as_secs_f64())
            .execute(&self.pool)
            .await;
        Ok(done
            .map_err(failed("pruning idempotency keys", ""))?
            .rows_affected())
    }
}
