use chrono::{DateTime, Utc};
use quadrille_contracts::OrderId;
use quadrille_proto::order::v1 as proto;
use saga_runtime::grpc::{PageToken, Violations, page_size};
use tonic::Status;
use uuid::Uuid;

use super::show;
use crate::participant::Status as OrderStatus;
use crate::store::{Filter, Place, View};

const OWNER_MAX_BYTES: usize = 128;

/// A page that was asked for.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) filter: Filter,
    pub(super) after: Option<Place>,
    pub(super) size: i64,
}

impl Page {
    pub(super) fn asked(request: &proto::ListOrdersRequest) -> Result<Self, Status> {
        let mut violations = Violations::default();
        violations.text("owner", &request.owner, 0, OWNER_MAX_BYTES);
        let status = violations.check(
            "status",
            proto::OrderStatus::try_from(request.status),
            "is none that there is",
        );
        let filter = Filter {
            owner: Some(request.owner.clone()).filter(|owner| !owner.is_empty()),
            status: status.and_then(filtered),
        };
        let size = page_size(request.page_size, &mut violations);
        let after = match request.page_token.as_str() {
            "" => None,
            token => violations.check(
                "page_token",
                read_token(&filter, token).ok_or(()),
                "is none of a list with these filters",
            ),
        };
        violations.finish(Some(Self { filter, after, size }))
    }

    /// The page, of the orders that were found: one more than it shows if there is a next one.
    pub(super) fn of(&self, found: &[View]) -> proto::ListOrdersResponse {
        let size = usize::try_from(self.size).expect("a page is small");
        let shown = &found[..found.len().min(size)];
        let next_page_token = match shown.last() {
            Some(last) if found.len() > size => write_token(&self.filter, last),
            _ => String::new(),
        };
        proto::ListOrdersResponse {
            orders: shown.iter().map(show::order).collect(),
            next_page_token,
        }
    }
}

fn filtered(status: proto::OrderStatus) -> Option<OrderStatus> {
    Some(match status {
        proto::OrderStatus::Unspecified => return None,
        proto::OrderStatus::Pending => OrderStatus::Pending,
        proto::OrderStatus::Confirmed => OrderStatus::Confirmed,
        proto::OrderStatus::Rejected => OrderStatus::Rejected,
        proto::OrderStatus::Cancelled => OrderStatus::Cancelled,
        proto::OrderStatus::Refunded => OrderStatus::Refunded,
    })
}

/// Microseconds, then the id.
fn write_token(filter: &Filter, last: &View) -> String {
    let mut place = last.created_at.timestamp_micros().to_be_bytes().to_vec();
    place.extend_from_slice(last.order_id.0.as_bytes());
    with_token(filter, |token| token.write(&place))
}

fn read_token(filter: &Filter, token: &str) -> Option<Place> {
    let place = with_token(filter, |of| of.read(token))?;
    let (micros, id) = place.split_first_chunk::<8>()?;
    Some(Place {
        created_at: DateTime::<Utc>::from_timestamp_micros(i64::from_be_bytes(*micros))?,
        order_id: OrderId(Uuid::from_slice(id).ok()?),
    })
}

fn with_token<T>(filter: &Filter, f: impl FnOnce(PageToken<'_>) -> T) -> T {
    let status = filter.status.map(|status| status.to_string()).unwrap_or_default();
    let owner = filter.owner.as_deref().unwrap_or_default();
    f(PageToken {
        list: &["orders", owner, &status],
    })
}
