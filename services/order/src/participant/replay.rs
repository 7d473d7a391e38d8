use quadrille_contracts::{OrderId, ProductId, order};
use saga_core::replay::{Replay, Told};
use saga_core::{Event as _, Money};

use super::{Basket, Cancel, In, Item, Order, Orders, PlaceOrder};

/// Commands and the deadline are in no topic; what was ordered is in the event that came of it.
impl Replay for Orders {
    const BEGINS: &'static str = order::Created::NAME;

    fn unrecorded(&self, order_id: &OrderId, order: &Order, told: &[Told]) -> Vec<In> {
        match order {
            Order::Absent => created(told).and_then(placing).into_iter().collect(),
            Order::Pending { .. } if !told.is_empty() => {
                let order_id = *order_id;
                vec![In::Cancel(Cancel { order_id }), In::Deadline]
            }
            Order::Pending { .. }
            | Order::Confirmed { .. }
            | Order::Rejected { .. }
            | Order::Cancelled { .. }
            | Order::Refunded { .. } => Vec::new(),
        }
    }

    /// The price that the order was taken at.
    fn row(&self, product_id: &ProductId, told: &[Told]) -> Option<Money> {
        let lines = created(told)?.lines;
        let line = lines.into_iter().find(|line| line.product_id == *product_id)?;
        Some(line.unit_price)
    }
}

fn created(told: &[Told]) -> Option<order::Created> {
    let event = told.iter().find(|event| event.name == order::Created::NAME)?;
    order::Created::decode(event.version, event.data.to_string().as_bytes()).ok()
}

fn placing(event: order::Created) -> Option<In> {
    let items = event.lines.iter().map(|line| Item {
        product_id: line.product_id,
        quantity: line.quantity,
    });
    Some(In::PlaceOrder(PlaceOrder {
        order_id: event.order_id,
        owner: event.owner,
        basket: Basket::new(items.collect()).ok()?,
        payment_method: event.payment_method,
        expected_currency: None,
    }))
}
