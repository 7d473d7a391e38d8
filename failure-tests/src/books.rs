use std::collections::{BTreeMap, BTreeSet};

use quadrille_contracts::{OrderId, PaymentId, ProductId};
use quadrille_proto::order::v1::{Order, OrderStatus};
pub use sagactl::audit::Shelf;
use sagactl::audit::payment_fits;
use serde::Deserialize;

/// A payment as payment's table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRow {
    /// Its state's name.
    pub state: String,
    /// What it is about, if anything was heard of the order itself.
    pub amount_minor: Option<i64>,
}

/// What the provider's books say of one reference in one currency.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// Our payment.
    pub reference: String,
    /// ISO 4217.
    pub currency: String,
    /// Taken from the customer.
    pub captured_minor: i64,
    /// Given back.
    pub refunded_minor: i64,
    /// How many charges succeeded.
    pub charges: i64,
    /// How many refunds.
    pub refunds: i64,
}

/// How an order ended, or what it waits for.
pub fn ended(order: &Order) -> Result<(), String> {
    let ends = match order.status() {
        OrderStatus::Confirmed | OrderStatus::Rejected | OrderStatus::Refunded => true,
        OrderStatus::Cancelled => order.settled || order.money_owed,
        OrderStatus::Pending | OrderStatus::Unspecified => false,
    };
    match (ends, order.ended) {
        (true, true) => Ok(()),
        (false, false) => Err(format!(
            "order {} is {}",
            order.order_id,
            order.status().as_str_name()
        )),
        (_, says) => Err(format!(
            "order {} says ended = {says} and is {order:?}",
            order.order_id
        )),
    }
}

/// Goods: on hand + held + sold = received, nothing is held for what has ended, and sold is what was confirmed.
///
/// `open` are orders that are known to be parked.
pub fn goods(
    orders: &[Order],
    open: &BTreeSet<OrderId>,
    delivered: &BTreeMap<ProductId, i64>,
    shelves: &BTreeMap<ProductId, Shelf>,
) -> Vec<String> {
    let units = |wanted: &dyn Fn(&Order) -> bool, product: &ProductId| -> i64 {
        let of_product = orders
            .iter()
            .filter(|order| wanted(order))
            .flat_map(|order| &order.items)
            .filter(|item| item.product_id == product.to_string());
        of_product.map(|item| item.quantity).sum()
    };
    let mut wrong = Vec::new();
    for (product, delivered) in delivered {
        let Some(shelf) = shelves.get(product) else {
            if *delivered != 0 {
                wrong.push(format!(
                    "product {product}: {delivered} were delivered, and there is no shelf"
                ));
            }
            continue;
        };
        let sold = units(&|order| order.status() == OrderStatus::Confirmed, product);
        let may_be_held = units(
            &|order| order.order_id.parse().is_ok_and(|id| open.contains(&id)),
            product,
        );
        let mut expect = |what: &str, is: i64, should: i64| {
            if is != should {
                wrong.push(format!(
                    "product {product}: {what} is {is} instead of {should} ({shelf:?})"
                ));
            }
        };
        expect("received", shelf.received, *delivered);
        let held = if shelf.held <= may_be_held {
            shelf.held.max(0)
        } else {
            may_be_held
        };
        for what in shelf.discrepancies(held, sold) {
            wrong.push(format!("product {product}: {what}"));
        }
    }
    wrong
}

/// Money: the provider's books, payment's own and the order's word say the same; captured − refunded is the
/// price of a confirmed order and nothing of any other, unless it is owed, and visibly so; nobody is charged or
/// refunded twice.
pub fn money(
    orders: &[Order],
    open: &BTreeSet<OrderId>,
    payments: &BTreeMap<OrderId, PaymentRow>,
    entries: &[Entry],
) -> Vec<String> {
    let mut wrong = Vec::new();
    let by_reference = entries
        .iter()
        .fold(BTreeMap::<&str, Vec<&Entry>>::new(), |mut all, entry| {
            all.entry(&entry.reference).or_default().push(entry);
            all
        });
    for order in orders {
        let Ok(id) = order.order_id.parse::<OrderId>() else {
            wrong.push(format!("'{}' is no order's id", order.order_id));
            continue;
        };
        if open.contains(&id) {
            continue;
        }
        let total = order.total.clone().unwrap_or_default();
        let booked = by_reference
            .get(PaymentId::of(id).to_string().as_str())
            .cloned()
            .unwrap_or_default();
        let (ours, foreign): (Vec<&Entry>, Vec<&Entry>) = booked
            .into_iter()
            .partition(|entry| entry.currency == total.currency_code);
        let sum = |of: fn(&Entry) -> i64| ours.iter().map(|entry| of(entry)).sum::<i64>();
        let (captured, refunded) = (
            sum(|entry| entry.captured_minor),
            sum(|entry| entry.refunded_minor),
        );
        let status = order.status().as_str_name();
        let mut expect = |what: &str, is: i64, should: i64| {
            if is != should {
                wrong.push(format!(
                    "order {id} ({status}): {what} is {is} instead of {should}: {ours:?}"
                ));
            }
        };
        let kept = match order.status() {
            OrderStatus::Confirmed => total.minor_units,
            OrderStatus::Cancelled if order.money_owed => total.minor_units,
            _ => 0,
        };
        expect("what the provider holds of it", captured - refunded, kept);
        expect("charges beyond one", (sum(|entry| entry.charges) - 1).max(0), 0);
        expect("refunds beyond one", (sum(|entry| entry.refunds) - 1).max(0), 0);
        let strange = foreign
            .iter()
            .map(|entry| entry.captured_minor - entry.refunded_minor)
            .sum::<i64>();
        expect("money in a currency that was never asked for", strange, 0);

        let row = payments.get(&id);
        let state = row.map_or("absent", |row| row.state.as_str());
        let word = match order.status() {
            OrderStatus::Confirmed => "confirmed",
            OrderStatus::Refunded => "refunded",
            OrderStatus::Rejected => "rejected",
            OrderStatus::Cancelled => "cancelled",
            OrderStatus::Pending | OrderStatus::Unspecified => "open",
        };
        let fits = payment_fits(word, order.money_owed, state);
        if !fits {
            wrong.push(format!("order {id} is {status}, and its payment is {state}"));
        }
        if let Some(amount) = row.and_then(|row| row.amount_minor)
            && amount != total.minor_units
        {
            wrong.push(format!(
                "order {id} costs {}, and its payment is about {amount}",
                total.minor_units
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use quadrille_proto::order::v1::OrderItem;
    use quadrille_proto::r#type::v1::Money;
    use uuid::Uuid;

    use super::*;

    const ID: OrderId = OrderId(Uuid::from_u128(1));
    const PRODUCT: ProductId = ProductId(Uuid::from_u128(2));

    fn order(status: OrderStatus) -> Order {
        Order {
            order_id: ID.to_string(),
            status: status.into(),
            settled: status == OrderStatus::Cancelled,
            ended: true,
            items: vec![OrderItem {
                product_id: PRODUCT.to_string(),
                quantity: 2,
                ..Default::default()
            }],
            total: Some(Money {
                currency_code: "EUR".to_owned(),
                minor_units: 500,
            }),
            ..Default::default()
        }
    }

    fn entry(captured_minor: i64, refunded_minor: i64, charges: i64) -> Entry {
        Entry {
            reference: PaymentId::of(ID).to_string(),
            currency: "EUR".to_owned(),
            captured_minor,
            refunded_minor,
            charges,
            refunds: i64::from(refunded_minor > 0),
        }
    }

    fn money_of(status: OrderStatus, state: &str, entries: &[Entry]) -> Vec<String> {
        let row = PaymentRow {
            state: state.to_owned(),
            amount_minor: Some(500),
        };
        money(&[order(status)], &BTreeSet::new(), &[(ID, row)].into(), entries)
    }

    fn goods_of(status: OrderStatus, shelf: Shelf) -> Vec<String> {
        goods(
            &[order(status)],
            &BTreeSet::new(),
            &[(PRODUCT, 10)].into(),
            &[(PRODUCT, shelf)].into(),
        )
    }

    #[test]
    fn what_balances_is_right() {
        use OrderStatus::{Cancelled, Confirmed, Refunded, Rejected};
        for (status, state, entries) in [
            (Confirmed, "captured", vec![entry(500, 0, 1)]),
            (Refunded, "refunded", vec![entry(500, 500, 1)]),
            (Rejected, "rejected", vec![]),
            (Cancelled, "voided", vec![]),
        ] {
            assert_eq!(money_of(status, state, &entries), Vec::<String>::new());
        }
        let sold = Shelf {
            received: 10,
            on_hand: 8,
            held: 0,
            sold: 2,
        };
        assert_eq!(goods_of(Confirmed, sold), Vec::<String>::new());
    }

    #[test]
    fn what_does_not_balance_is_found() {
        use OrderStatus::{Cancelled, Confirmed, Refunded};
        for (status, state, entries) in [
            (Confirmed, "captured", vec![]),
            (Confirmed, "captured", vec![entry(1000, 0, 2)]),
            (Confirmed, "captured", vec![entry(1000, 500, 2)]),
            (Confirmed, "asking", vec![entry(500, 0, 1)]),
            (Cancelled, "voided", vec![entry(500, 0, 1)]),
            (Refunded, "refunded", vec![entry(500, 0, 1)]),
            (OrderStatus::Pending, "captured", vec![]),
        ] {
            assert!(
                !money_of(status, state, &entries).is_empty(),
                "{status:?} {state} {entries:?}"
            );
        }
        for shelf in [
            Shelf {
                received: 10,
                on_hand: 10,
                held: 0,
                sold: 0,
            },
            Shelf {
                received: 10,
                on_hand: 6,
                held: 0,
                sold: 4,
            },
            Shelf {
                received: 10,
                on_hand: 6,
                held: 2,
                sold: 2,
            },
            Shelf {
                received: 9,
                on_hand: 7,
                held: 0,
                sold: 2,
            },
        ] {
            assert!(!goods_of(Confirmed, shelf).is_empty(), "{shelf:?}");
        }
    }

    #[test]
    fn an_order_has_ended_or_says_what_it_is() {
        assert_eq!(ended(&order(OrderStatus::Confirmed)), Ok(()));
        let pending = Order {
            ended: false,
            ..order(OrderStatus::Pending)
        };
        assert!(ended(&pending).is_err());
        assert!(
            ended(&order(OrderStatus::Pending)).is_err(),
            "it says so, and is not"
        );
    }
}
