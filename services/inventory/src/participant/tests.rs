use quadrille_contracts::order::{CancelReason, Line, PaymentMethod};
use saga_core::testkit::{Given, given};
use saga_core::{Currency, Money};
use uuid::Uuid;

use super::*;

const INVENTORY: Inventory = Inventory { max_receipt: 100 };

fn order() -> OrderId {
    OrderId(Uuid::from_u128(1))
}

fn tea() -> ProductId {
    ProductId(Uuid::from_u128(10))
}

fn cup() -> ProductId {
    ProductId(Uuid::from_u128(11))
}

fn created(lines: &[(ProductId, u32)]) -> In {
    let price = Money::new(100, Currency::EUR);
    In::Created(order::Created {
        order_id: order(),
        owner: "ada".into(),
        lines: lines
            .iter()
            .map(|&(product_id, quantity)| Line {
                product_id,
                quantity,
                unit_price: price,
            })
            .collect(),
        total: price,
        payment_method: PaymentMethod::HostedPage,
    })
}

fn confirmed() -> In {
    In::Confirmed(order::Confirmed { order_id: order() })
}

fn cancelled() -> In {
    In::Cancelled(order::Cancelled {
        order_id: order(),
        reason: CancelReason::Customer,
    })
}

fn shelf(on_hand: u64, held: u64, sold: u64) -> Shelf {
    Shelf {
        received: on_hand + held + sold,
        on_hand,
        held,
        sold,
    }
}

fn lines(lines: &[(ProductId, u32)]) -> Vec<Quantity> {
    lines
        .iter()
        .map(|&(product_id, quantity)| Quantity { product_id, quantity })
        .collect()
}

fn held() -> Hold {
    Hold::Held {
        lines: lines(&[(tea(), 2)]),
    }
}

fn inventory() -> Given<'static, Inventory> {
    given(&INVENTORY)
}

#[test]
fn an_order_holds_all_of_its_items() {
    inventory()
        .shared([(tea(), shelf(3, 0, 0)), (cup(), shelf(1, 4, 0))])
        .when(created(&[(tea(), 2), (cup(), 1)]))
        .emits(&[Out::Reserved(stock::Reserved {
            order_id: order(),
            lines: lines(&[(tea(), 2), (cup(), 1)]),
        })])
        .leaves(&Hold::Held {
            lines: lines(&[(tea(), 2), (cup(), 1)]),
        })
        .shared_is(&tea(), &shelf(1, 2, 0))
        .shared_is(&cup(), &shelf(0, 5, 0));
}

#[test]
fn or_none_of_them_and_says_what_is_short() {
    inventory()
        .shared([(tea(), shelf(3, 0, 0))])
        .when(created(&[(tea(), 2), (cup(), 1)]))
        .emits(&[Out::Rejected(stock::Rejected {
            order_id: order(),
            shortages: vec![Shortage {
                product_id: cup(),
                requested: 1,
                available: 0,
            }],
        })])
        .leaves(&Hold::Closed(Closing::Rejected))
        .shared_is(&tea(), &shelf(3, 0, 0));
}

#[test]
fn what_is_held_is_sold_when_the_order_is_confirmed() {
    inventory()
        .state(held())
        .shared([(tea(), shelf(1, 2, 0))])
        .when(confirmed())
        .emits(&[Out::Committed(stock::Committed {
            order_id: order(),
            lines: lines(&[(tea(), 2)]),
        })])
        .leaves(&Hold::Closed(Closing::Sold))
        .shared_is(&tea(), &shelf(1, 0, 2));
}

#[test]
fn and_put_back_when_it_is_cancelled() {
    inventory()
        .state(held())
        .shared([(tea(), shelf(1, 2, 0))])
        .when(cancelled())
        .emits(&[Out::Released(stock::Released {
            order_id: order(),
            lines: lines(&[(tea(), 2)]),
        })])
        .leaves(&Hold::Closed(Closing::Cancelled))
        .shared_is(&tea(), &shelf(3, 0, 0));
}

#[test]
fn a_cancel_that_overtakes_its_order_leaves_a_barrier() {
    inventory()
        .shared([(tea(), shelf(3, 0, 0))])
        .when(cancelled())
        .emits(&[])
        .leaves(&Hold::Closed(Closing::Cancelled))
        .and([])
        .shared([(tea(), shelf(3, 0, 0))])
        .when(created(&[(tea(), 2)]))
        .emits(&[])
        .leaves(&Hold::Closed(Closing::Cancelled));
}

#[test]
fn what_was_seen_before_changes_nothing() {
    let ended = |how| Hold::Closed(how);
    for (state, input) in [
        (held(), created(&[(tea(), 2)])),
        (ended(Closing::Rejected), created(&[(tea(), 2)])),
        (ended(Closing::Sold), created(&[(tea(), 2)])),
        (ended(Closing::Cancelled), created(&[(tea(), 2)])),
        (ended(Closing::Sold), confirmed()),
        (ended(Closing::Cancelled), cancelled()),
        (ended(Closing::Rejected), cancelled()),
    ] {
        // No shelf is loaded: touching one would be a fault.
        inventory()
            .state(state.clone())
            .when(input)
            .emits(&[])
            .leaves(&state);
    }
}

#[test]
fn what_cannot_be_parks_the_key() {
    for (state, input, why) in [
        (Hold::Absent, confirmed(), "nothing is held"),
        (Hold::Closed(Closing::Rejected), confirmed(), "nothing is held"),
        (Hold::Closed(Closing::Cancelled), confirmed(), "nothing is held"),
        (
            Hold::Closed(Closing::Sold),
            cancelled(),
            "after its goods were sold",
        ),
        (
            Hold::Absent,
            created(&[(tea(), 1), (tea(), 1)]),
            "a product twice",
        ),
    ] {
        let then = inventory()
            .state(state)
            .shared([(tea(), shelf(3, 0, 0))])
            .when(input);
        assert!(then.parks().contains(why), "{}", then.parks());
    }
    // The shelf lost what the order holds.
    for input in [confirmed(), cancelled()] {
        let then = inventory()
            .state(held())
            .shared([(tea(), shelf(3, 1, 0))])
            .when(input);
        assert!(then.parks().contains("holds less"), "{}", then.parks());
        then.shared_is(&tea(), &shelf(3, 1, 0));
    }
}

#[test]
fn received_stock_makes_the_shelf() {
    let receive = |quantity| {
        In::ReceiveStock(ReceiveStock {
            product_id: tea(),
            quantity,
        })
    };
    let then = inventory().when(receive(7));
    assert_eq!(then.decision().reply, Some(Ok(shelf(7, 0, 0))));
    let then = then
        .shared_is(&tea(), &shelf(7, 0, 0))
        .and([tea()])
        .when(receive(3));
    assert_eq!(then.decision().reply, Some(Ok(shelf(10, 0, 0))));

    for wrong in [0, 101, u64::MAX] {
        let then = inventory().when(receive(wrong));
        assert_eq!(then.decision().reply, Some(Err(Refusal::Quantity { max: 100 })));
    }
    let full = shelf(Shelf::MAX - 5, 0, 0);
    let then = inventory().shared([(tea(), full)]).when(receive(6));
    assert_eq!(then.decision().reply, Some(Err(Refusal::ShelfFull)));
    then.shared_is(&tea(), &full);
}

#[test]
fn a_shelf_always_balances() {
    let full = shelf(5, 0, 0);
    let held = full.hold(3).expect("there are five");
    for shelf in [
        Some(held),
        held.put_back(2),
        held.sell(3),
        held.receive(4),
        held.hold(2),
    ] {
        assert!(shelf.expect("possible").balances(), "{shelf:?}");
    }
    for none in [
        held.hold(3),
        held.put_back(4),
        held.sell(4),
        held.receive(Shelf::MAX),
    ] {
        assert_eq!(none, None);
    }
    assert!(!Shelf { received: 6, ..full }.balances());
}
