use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quadrille_contracts::OrderId;
use quadrille_process::Chain;
use saga_runtime::service;
use sqlx::PgPool;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::store::{self, View};

/// Other processes change orders too, and nobody tells us.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Orders that are read with one query.
const AT_ONCE: usize = 500;

/// Orders that somebody watches, each by any number of callers.
///
/// One task looks for all of them: a thousand watchers that each looked for themselves would ask the database
/// a thousand times a second, and would all wake up at every change of any order.
#[derive(Debug)]
pub struct Watchers {
    watched: Mutex<HashMap<OrderId, watch::Sender<Option<Arc<View>>>>>,
    free: Arc<Semaphore>,
    stop: CancellationToken,
}

/// Somebody who watches an order.
#[derive(Debug)]
pub struct Watcher {
    watchers: Arc<Watchers>,
    order_id: OrderId,
    views: watch::Receiver<Option<Arc<View>>>,
    _place: OwnedSemaphorePermit,
}

impl Watchers {
    /// Room for `max` watchers, until the process stops.
    pub fn new(max: usize, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            watched: Mutex::default(),
            free: Arc::new(Semaphore::new(max)),
            stop,
        })
    }

    /// Begins to watch an order; `None` if there are too many watchers already.
    ///
    /// Watch first and read the order then, so that no change is missed in between.
    pub fn watch(self: &Arc<Self>, order_id: OrderId) -> Option<Watcher> {
        let place = Arc::clone(&self.free).try_acquire_owned().ok()?;
        let views = self
            .lock()
            .entry(order_id)
            .or_insert_with(|| watch::Sender::new(None))
            .subscribe();
        Some(Watcher {
            watchers: Arc::clone(self),
            order_id,
            views,
            _place: place,
        })
    }

    /// Shows each watched order to its watchers when it has changed, until the process stops. `changes` are
    /// those of this process.
    ///
    /// # Errors
    /// Never; it is a task of the service.
    pub async fn serve(
        self: Arc<Self>,
        pool: PgPool,
        mut changes: broadcast::Receiver<OrderId>,
    ) -> Result<(), service::Error> {
        let mut again = tokio::time::interval(LOOK_AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut changed = tokio::select! {
                change = changes.recv() => match change {
                    Ok(order_id) => self.if_watched(order_id).into_iter().collect(),
                    // Too many at once: any of them may have changed.
                    Err(RecvError::Lagged(_)) => self.all(),
                    Err(RecvError::Closed) => return Ok(()),
                },
                _ = again.tick() => self.all(),
                () = self.stop.cancelled() => return Ok(()),
            };
            // Orders change in batches, so there are more.
            loop {
                match changes.try_recv() {
                    Ok(order_id) => changed.extend(self.if_watched(order_id)),
                    Err(TryRecvError::Lagged(_)) => changed = self.all(),
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            let changed: Vec<OrderId> = changed.into_iter().collect();
            for some in changed.chunks(AT_ONCE) {
                match store::read(&pool, some).await {
                    Ok(views) => self.show(views),
                    // It is looked for again in a moment.
                    Err(error) => tracing::debug!(error = %Chain(&error), "cannot read watched orders"),
                }
            }
        }
    }

    fn show(&self, views: Vec<View>) {
        let watched = self.lock();
        for view in views {
            if let Some(watchers) = watched.get(&view.order_id) {
                watchers.send_if_modified(|known| {
                    let news = known.as_ref().is_none_or(|known| **known != view);
                    if news {
                        *known = Some(Arc::new(view));
                    }
                    news
                });
            }
        }
    }

    fn if_watched(&self, order_id: OrderId) -> Option<OrderId> {
        self.lock().contains_key(&order_id).then_some(order_id)
    }

    fn all(&self) -> BTreeSet<OrderId> {
        let mut watched = self.lock();
        // Two watchers that end at the same time each take the other for one who goes on.
        watched.retain(|_, watchers| watchers.receiver_count() > 0);
        watched.keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OrderId, watch::Sender<Option<Arc<View>>>>> {
        // Nothing in here panics half-way through a change.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// The order after a change; `None` if the process is going down. What is shown may be older than what the
    /// caller has read itself: its version tells.
    pub async fn changed(&mut self) -> Option<Arc<View>> {
        tokio::select! {
            changed = self.views.changed() => {
                changed.ok()?;
                self.views.borrow_and_update().clone()
            }
            () = self.watchers.stop.cancelled() => None,
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut watched = self.watchers.lock();
        // Ours is still among the receivers.
        if watched
            .get(&self.order_id)
            .is_some_and(|watchers| watchers.receiver_count() <= 1)
        {
            watched.remove(&self.order_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_nobody_watches_any_more_is_forgotten() {
        let watchers = Watchers::new(2, CancellationToken::new());
        let id = |n| OrderId(uuid::Uuid::from_u128(n));
        let _watcher = watchers.watch(id(1)).expect("room");
        // As two leave it that end at the same time.
        watchers.lock().insert(id(2), watch::Sender::new(None));
        assert_eq!(watchers.all(), [id(1)].into());
        assert_eq!(watchers.lock().len(), 1);
    }
}
