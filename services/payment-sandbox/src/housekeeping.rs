use std::sync::Arc;
use std::time::Duration;

use quadrille_process::{Chain, Health, Status};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::store::{Store, StoreError};

/// How late a page may expire.
const ROUND: Duration = Duration::from_millis(250);
/// Stripe's promise: a key holds for at least that long.
const KEYS_KEPT: Duration = Duration::from_secs(24 * 3600);
const WEBHOOKS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Rounds between two looks at what is old.
const PRUNE_EVERY: u32 = 240;

/// Expires pages, forgets what is old, and says whether the database answers.
pub(crate) async fn run(store: Store, health: Health, bell: Arc<Notify>, stop: CancellationToken) {
    let mut round = 0_u32;
    loop {
        let prune = round.is_multiple_of(PRUNE_EVERY);
        match tidy(&store, &bell, prune).await {
            Ok(()) => health.set("database", Status::Up),
            Err(error) => health.set("database", Status::Down(Chain(&error).to_string())),
        }
        round = round.wrapping_add(1);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ROUND) => {}
        }
    }
}

async fn tidy(store: &Store, bell: &Notify, prune: bool) -> Result<(), StoreError> {
    store.probe().await?;
    while store.expire_pages().await? > 0 {
        bell.notify_one();
    }
    if prune {
        while store.prune_keys(KEYS_KEPT).await? > 0 {}
        while store.prune_webhooks(WEBHOOKS_KEPT).await? > 0 {}
    }
    Ok(())
}
