use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, stream};
use quadrille_proto::order::v1 as proto;
use saga_runtime::grpc;
use tokio::time::Instant;
use tonic::Status;

use super::show;
use crate::store::View;
use crate::watch::Watcher;

/// An order, once for each change.
pub(super) type WatchOrderStream =
    Pin<Box<dyn Stream<Item = Result<proto::WatchOrderResponse, Status>> + Send>>;

/// Where a stream stands.
enum Stand {
    /// Nothing was sent yet.
    Found(Watching),
    /// This was sent last.
    Shown(Watching),
    /// It is over.
    Over,
}

struct Watching {
    watcher: Watcher,
    view: View,
    deadline: Option<Instant>,
}

/// Shows the order as it was found, then after each change, until it has ended. Ends with UNAVAILABLE when the
/// process goes down, so that the client looks for another one.
pub(super) fn of(watcher: Watcher, found: View, timeout: Option<Duration>) -> WatchOrderStream {
    let watching = Watching {
        watcher,
        view: found,
        deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
    };
    Box::pin(stream::unfold(Stand::Found(watching), |stand| async {
        match stand {
            Stand::Found(watching) => {
                let order = Some(show::order(&watching.view));
                let first = proto::WatchOrderResponse { order, event: None };
                Some((Ok(first), Stand::Shown(watching)))
            }
            Stand::Shown(watching) if show::is_over(&watching.view) => None,
            Stand::Shown(mut watching) => Some(match watching.next().await {
                Ok(next) => (Ok(next), Stand::Shown(watching)),
                Err(status) => (Err(status), Stand::Over),
            }),
            Stand::Over => None,
        }
    }))
}

impl Watching {
    async fn next(&mut self) -> Result<proto::WatchOrderResponse, Status> {
        loop {
            let seen = match self.deadline {
                None => self.watcher.changed().await,
                Some(deadline) => tokio::time::timeout_at(deadline, self.watcher.changed())
                    .await
                    .map_err(|_| Status::deadline_exceeded("the deadline has passed"))?,
            };
            let seen = seen.ok_or_else(grpc::stopping)?;
            if is_news(&seen, &self.view) {
                let event = show::event(&self.view, &seen);
                self.view = View::clone(&seen);
                let order = Some(show::order(&self.view));
                return Ok(proto::WatchOrderResponse { order, event });
            }
        }
    }
}

/// Two readers may overtake each other, so what is seen may be older than what is known. A parked message
/// changes nothing of the order itself.
fn is_news(seen: &View, known: &View) -> bool {
    seen.version > known.version || (seen.version == known.version && seen.parked != known.parked)
}
