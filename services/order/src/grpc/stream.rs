use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{Stream, stream};
use quadrille_proto::order::v1 as proto;
use saga_runtime::grpc;
use tokio::time::Instant;
use tonic::Status;

use super::show;
use crate::participant::Orders;
use crate::store::View;
use crate::watch::Watcher;

/// An order, once for each change.
pub(super) type WatchOrderStream =
    Pin<Box<dyn Stream<Item = Result<proto::WatchOrderResponse, Status>> + Send>>;

/// How much longer than an order may take it is watched, at least.
const GRACE: Duration = Duration::from_secs(60);

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
    /// When it has been watched for long enough.
    last: Option<Instant>,
}

/// How long an order is watched: until its deadline and a minute more. By then it has ended, or it waits for something
/// that this service does not see: a saga that another participant has parked, a refund.
pub(super) fn patience(policy: &Orders, view: &View, now: DateTime<Utc>) -> Duration {
    let deadline = view.order.placed().map(|placed| policy.deadline(placed.method));
    let age = (now - view.created_at).to_std().unwrap_or_default();
    deadline.unwrap_or_default().saturating_sub(age) + GRACE
}

/// Shows the order as it was found, then after each change, until it has ended. Ends with UNAVAILABLE when the
/// process goes down, so that the client looks for another one, and when `patience` is over.
pub(super) fn of(
    watcher: Watcher,
    found: View,
    timeout: Option<Duration>,
    patience: Duration,
) -> WatchOrderStream {
    let now = Instant::now();
    let watching = Watching {
        watcher,
        view: found,
        deadline: timeout.and_then(|timeout| now.checked_add(timeout)),
        last: now.checked_add(patience),
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
            let seen = tokio::select! {
                seen = self.watcher.changed() => seen,
                () = until(self.deadline) => return Err(Status::deadline_exceeded("the deadline has passed")),
                () = until(self.last) => return Err(self.overdue()),
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

    fn overdue(&self) -> Status {
        let message = format!(
            "the order has not ended though its deadline has passed: 'sagactl saga show {}' tells what it waits for",
            self.view.order_id
        );
        grpc::later("ORDER_OVERDUE", &message, GRACE)
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Two readers may overtake each other, so what is seen may be older than what is known. A parked message
/// changes nothing of the order itself.
fn is_news(seen: &View, known: &View) -> bool {
    seen.version > known.version || (seen.version == known.version && seen.parked != known.parked)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use quadrille_contracts::OrderId;
    use saga_core::{Currency, Money};
    use tokio_util::sync::CancellationToken;
    use tonic::Code;
    use tonic_types::StatusExt as _;
    use uuid::Uuid;

    use super::*;
    use crate::participant::{Method, Order, Placed};
    use crate::watch::Watchers;

    fn view() -> View {
        let placed = Placed {
            order_id: OrderId(Uuid::from_u128(1)),
            owner: "ada".to_owned(),
            lines: Vec::new(),
            total: Money::new(250, Currency::EUR),
            method: Method::Card,
            page_url: None,
        };
        View {
            order_id: placed.order_id,
            order: Order::Pending { placed },
            version: 1,
            parked: false,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn an_order_that_does_not_end_is_not_watched_for_ever() {
        let watchers = Watchers::new(1, CancellationToken::new());
        let view = view();
        let watcher = watchers.watch(view.order_id).expect("room");
        let mut stream = of(watcher, view, None, Duration::from_millis(1));
        assert!(stream.next().await.expect("as it is").is_ok());
        let next = tokio::time::timeout(Duration::from_secs(10), stream.next());
        let status = next.await.expect("an end").expect("why").expect_err("overdue");
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains("sagactl saga show"), "{status}");
        assert!(status.get_error_details().retry_info().is_some());
        assert!(stream.next().await.is_none());
    }

    #[test]
    fn an_order_is_watched_until_its_deadline_and_a_minute_more() {
        let (policy, view) = (Orders::default(), view());
        let after = |seconds| {
            patience(
                &policy,
                &view,
                view.created_at + chrono::Duration::seconds(seconds),
            )
        };
        assert_eq!(after(0), policy.card_deadline + GRACE);
        assert_eq!(
            after(600),
            policy.card_deadline + GRACE - Duration::from_secs(600)
        );
        assert_eq!(after(100_000), GRACE);
        assert_eq!(after(-5), policy.card_deadline + GRACE);
    }
}
