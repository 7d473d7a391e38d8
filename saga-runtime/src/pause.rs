//! What operators have paused: "stop refunds now".

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use sqlx::PgPool;

use crate::metrics as names;

/// Everything that a participant does by itself: consuming, timers and effects. Commands are still taken.
pub(crate) const ALL: &str = "*";

const READ: &str = "select participant, what from saga.pause";

/// The statements of this module.
pub(crate) const STATEMENTS: &[(&str, &str)] = &[("read", READ)];

/// A copy of the table, read again about once a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pauses(Arc<RwLock<BTreeSet<(String, String)>>>);

impl Pauses {
    /// Whether `what` of a participant is paused, by itself or with everything else.
    pub(crate) fn is_paused(&self, participant: &str, what: &str) -> bool {
        let paused = self.0.read().unwrap_or_else(PoisonError::into_inner);
        paused
            .iter()
            .any(|(p, w)| p == participant && (w == ALL || w == what))
    }

    /// Kinds of effects that are paused.
    pub(crate) fn kinds(&self, participant: &str) -> Vec<String> {
        let paused = self.0.read().unwrap_or_else(PoisonError::into_inner);
        paused
            .iter()
            .filter(|(p, _)| p == participant)
            .map(|(_, what)| what.clone())
            .collect()
    }

    /// Reads the table.
    pub(crate) async fn refresh(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let rows: Vec<(String, String)> = sqlx::query_as(READ).fetch_all(pool).await?;
        let now: BTreeSet<_> = rows.into_iter().collect();
        let before = {
            let mut paused = self.0.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *paused, now.clone())
        };
        for (participant, what) in now.difference(&before) {
            tracing::warn!(participant, what, "paused by an operator");
            metrics::gauge!(names::PAUSED, "participant" => participant.clone(), "what" => what.clone())
                .set(1);
        }
        for (participant, what) in before.difference(&now) {
            tracing::info!(participant, what, "resumed by an operator");
            metrics::gauge!(names::PAUSED, "participant" => participant.clone(), "what" => what.clone())
                .set(0);
        }
        Ok(())
    }
}
