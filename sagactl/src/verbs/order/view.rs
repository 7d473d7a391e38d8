use chrono::{DateTime, Utc};
use quadrille_proto::order::v1 as wire;
use saga_core::Money;
use serde::Serialize;

use crate::table::{Column, Table};
use crate::{moment, money};

/// An order, for people and scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Order {
    pub(crate) order_id: String,
    pub(crate) owner: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) settled: bool,
    pub(crate) money_owed: bool,
    pub(crate) ended: bool,
    pub(crate) items: Vec<Item>,
    pub(crate) total: Option<Money>,
    pub(crate) payment_page_url: String,
    pub(crate) created_at: Option<DateTime<Utc>>,
    pub(crate) updated_at: Option<DateTime<Utc>>,
}

/// One product of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Item {
    pub(crate) product_id: String,
    pub(crate) quantity: i64,
    pub(crate) unit_price: Option<Money>,
    pub(crate) line_total: Option<Money>,
}

/// An order after an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// Absent in the first message: it shows the order as it was found.
    pub(crate) event: Option<String>,
    pub(crate) occurred_at: Option<DateTime<Utc>>,
    pub(crate) order: Order,
}

/// An order that was just placed, and where to look for its trace.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Placed {
    pub(super) trace_id: String,
    pub(super) order: Order,
}

impl Order {
    /// The good end.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.status == "CONFIRMED"
    }

    /// Status, reason and what is still open, in a few words.
    pub(crate) fn standing(&self) -> String {
        let mut words = vec![self.status.clone()];
        if !self.reason.is_empty() {
            words.push(format!("({})", self.reason));
        }
        if self.settled {
            words.push("settled".to_owned());
        }
        if self.money_owed {
            words.push("MONEY OWED".to_owned());
        }
        words.join(" ")
    }
}

pub(super) fn text(order: &Order) -> String {
    let mut lines = vec![
        format!("order     {}", order.order_id),
        format!("owner     {}", order.owner),
        format!(
            "status    {}{}",
            order.standing(),
            if order.ended { ", ended" } else { "" }
        ),
    ];
    for item in &order.items {
        lines.push(format!(
            "item      {} × {} at {} = {}",
            item.product_id,
            item.quantity,
            money::cell(item.unit_price),
            money::cell(item.line_total)
        ));
    }
    lines.push(format!("total     {}", money::cell(order.total)));
    if !order.payment_page_url.is_empty() {
        lines.push(format!("page      {}", order.payment_page_url));
    }
    lines.push(format!("placed    {}", moment::cell(order.created_at)));
    lines.push(format!("changed   {}", moment::cell(order.updated_at)));
    lines.join("\n")
}

pub(super) fn placed(placed: &Placed) -> String {
    format!("{}\ntrace     {}", text(&placed.order), placed.trace_id)
}

pub(super) fn table(orders: &[Order]) -> Table {
    let mut table = Table::new([
        Column::Left("ORDER"),
        Column::Left("PLACED"),
        Column::Right("TOTAL"),
        Column::Left("OWNER"),
        Column::Left("STATUS"),
    ]);
    for order in orders {
        table.row([
            order.order_id.clone(),
            moment::cell(order.created_at),
            money::cell(order.total),
            order.owner.clone(),
            order.standing(),
        ]);
    }
    table
}

/// One line of `watch`.
pub(super) fn change(change: &Change) -> String {
    let since = change
        .order
        .created_at
        .zip(change.occurred_at)
        .map(|(placed, at)| moment::after(at - placed))
        .unwrap_or_default();
    let what = change.event.as_deref().unwrap_or("(as it is now)");
    let mut line = format!("{since:>10}  {what:<22} {}", change.order.standing());
    if what == "payment.created" && !change.order.payment_page_url.is_empty() {
        line.push_str(&format!("  pay at {}", change.order.payment_page_url));
    }
    line
}

impl From<wire::Order> for Order {
    fn from(order: wire::Order) -> Self {
        let status = order.status().as_str_name();
        let items = order.items.iter().map(|item| Item {
            product_id: item.product_id.clone(),
            quantity: item.quantity,
            unit_price: money::from_wire(item.unit_price.as_ref()),
            line_total: money::from_wire(item.line_total.as_ref()),
        });
        Self {
            status: status.strip_prefix("ORDER_STATUS_").unwrap_or(status).to_owned(),
            items: items.collect(),
            total: money::from_wire(order.total.as_ref()),
            created_at: moment::from_wire(order.created_at.as_ref()),
            updated_at: moment::from_wire(order.updated_at.as_ref()),
            settled: order.settled,
            money_owed: order.money_owed,
            ended: order.ended,
            order_id: order.order_id,
            owner: order.owner,
            reason: order.reason,
            payment_page_url: order.payment_page_url,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        let price = money::parse("12.50 EUR").ok();
        Order {
            order_id: "0192".to_owned(),
            owner: "ann".to_owned(),
            status: "CANCELLED".to_owned(),
            reason: "PAYMENT_DECLINED".to_owned(),
            settled: true,
            money_owed: false,
            ended: true,
            items: vec![Item {
                product_id: "0190".to_owned(),
                quantity: 2,
                unit_price: price,
                line_total: money::parse("25 EUR").ok(),
            }],
            total: money::parse("25 EUR").ok(),
            payment_page_url: String::new(),
            created_at: DateTime::from_timestamp(1_785_585_600, 0),
            updated_at: DateTime::from_timestamp(1_785_585_601, 0),
        }
    }

    #[test]
    fn an_order_is_a_page() {
        let expected = "\
order     0192
owner     ann
status    CANCELLED (PAYMENT_DECLINED) settled, ended
item      0190 × 2 at 12.50 EUR = 25.00 EUR
total     25.00 EUR
placed    2026-08-01T12:00:00Z
changed   2026-08-01T12:00:01Z";
        assert_eq!(text(&order()), expected);
    }

    #[test]
    fn orders_are_a_table() {
        let expected = "\
ORDER  PLACED                    TOTAL  OWNER  STATUS
0192   2026-08-01T12:00:00Z  25.00 EUR  ann    CANCELLED (PAYMENT_DECLINED) settled";
        assert_eq!(table(&[order()]).to_string(), expected);
    }

    #[test]
    fn a_change_is_a_line() {
        let happened = Change {
            event: Some("order.cancelled".to_owned()),
            occurred_at: DateTime::from_timestamp(1_785_585_600, 41_000_000),
            order: order(),
        };
        assert_eq!(
            change(&happened),
            "  +0.041 s  order.cancelled        CANCELLED (PAYMENT_DECLINED) settled"
        );
    }
}
