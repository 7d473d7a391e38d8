use chrono::{DateTime, Utc};
use quadrille_contracts::order::{CancelReason, Line};
use quadrille_proto::order::v1 as proto;
use quadrille_proto::r#type::v1 as types;
use saga_core::Money;
use saga_runtime::grpc::timestamp;

use crate::participant::{Held, Order, Reply};
use crate::store::View;

/// An order as it was read.
pub(super) fn order(view: &View) -> proto::Order {
    show(&view.order, view.parked, view.created_at, view.updated_at)
}

/// An order as a command left it. Nothing of it is parked: then there would be no reply.
pub(super) fn replied(reply: &Reply, created_at: DateTime<Utc>) -> proto::Order {
    show(&reply.order, false, created_at, reply.at)
}

/// Whether a watcher needs to look no longer.
pub(super) fn is_over(view: &View) -> bool {
    view.parked || view.order.is_at_rest()
}

/// The event that brought an order from one view to the next, as far as the order remembers: it knows that
/// none of its money is held, but no longer which of the payment's events said so.
pub(super) fn event(before: &View, after: &View) -> Option<proto::OrderEvent> {
    let name = match (&before.order, &after.order) {
        (_, Order::Absent) => return None,
        (_, Order::Confirmed { .. }) => "order.confirmed",
        (_, Order::Rejected { .. }) => "order.rejected",
        (_, Order::Refunded { .. }) => "order.refunded",
        (
            _,
            Order::Cancelled {
                money: Held::Owed, ..
            },
        ) => "payment.refund_failed",
        (Order::Cancelled { .. }, Order::Cancelled { .. }) => return None,
        (
            _,
            Order::Cancelled {
                money: Held::Unknown, ..
            },
        ) => "order.cancelled",
        // These cancel the order themselves. If both happened between two looks, only the last one shows.
        (
            _,
            Order::Cancelled {
                money: Held::Nothing,
                reason,
                ..
            },
        ) => match reason {
            CancelReason::PaymentFailed | CancelReason::PaymentExpired => "order.cancelled",
            CancelReason::Customer | CancelReason::Deadline => return None,
        },
        (_, Order::Pending { .. }) if before.version < after.version => "payment.created",
        (_, Order::Pending { .. }) => return None,
    };
    Some(proto::OrderEvent {
        name: name.to_owned(),
        occurred_at: Some(timestamp(after.updated_at)),
    })
}

fn show(order: &Order, parked: bool, created_at: DateTime<Utc>, updated_at: DateTime<Utc>) -> proto::Order {
    let mut shown = proto::Order {
        status: status(order).into(),
        reason: reason(order).to_owned(),
        settled: order.is_settled(),
        money_owed: order.is_money_owed(),
        ended: parked || order.is_at_rest(),
        created_at: Some(timestamp(created_at)),
        updated_at: Some(timestamp(updated_at)),
        ..proto::Order::default()
    };
    if let Some(placed) = order.placed() {
        shown.order_id = placed.order_id.to_string();
        shown.owner.clone_from(&placed.owner);
        shown.items = placed.lines.iter().map(item).collect();
        shown.total = Some(money(placed.total));
        shown.payment_page_url = placed.page_url.clone().unwrap_or_default();
    }
    shown
}

fn item(line: &Line) -> proto::OrderItem {
    proto::OrderItem {
        product_id: line.product_id.to_string(),
        quantity: line.quantity.into(),
        unit_price: Some(money(line.unit_price)),
        // The order was taken, so its total was not too large, and none of its lines was.
        line_total: line.unit_price.times(line.quantity).ok().map(money),
    }
}

fn money(money: Money) -> types::Money {
    types::Money {
        currency_code: money.currency.to_string(),
        minor_units: money.minor,
    }
}

fn status(order: &Order) -> proto::OrderStatus {
    match order {
        Order::Absent => proto::OrderStatus::Unspecified,
        Order::Pending { .. } => proto::OrderStatus::Pending,
        Order::Confirmed { .. } => proto::OrderStatus::Confirmed,
        Order::Rejected { .. } => proto::OrderStatus::Rejected,
        Order::Cancelled { .. } => proto::OrderStatus::Cancelled,
        Order::Refunded { .. } => proto::OrderStatus::Refunded,
    }
}

fn reason(order: &Order) -> &'static str {
    match (order, order.cancel_reason()) {
        (Order::Rejected { .. }, _) => "OUT_OF_STOCK",
        (_, None) => "",
        (_, Some(CancelReason::PaymentFailed)) => "PAYMENT_DECLINED",
        (_, Some(CancelReason::PaymentExpired)) => "PAYMENT_EXPIRED",
        (_, Some(CancelReason::Customer)) => "CANCELLED_BY_CUSTOMER",
        (_, Some(CancelReason::Deadline)) => "DEADLINE",
    }
}
