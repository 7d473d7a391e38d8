use super::*;

#[test]
fn an_order_is_priced_from_the_catalogue_and_announced() {
    let card = PaymentMethod::Card {
        token: "tok_ok".into(),
    };
    let prices = [(tea(), euro(250)), (cup(), euro(900))];
    for (payment_method, method, deadline) in [
        (card, Method::Card, Duration::from_secs(900)),
        (
            PaymentMethod::HostedPage,
            Method::HostedPage,
            Duration::from_secs(90_000),
        ),
    ] {
        let order = Order::Pending {
            placed: Placed { method, ..placed() },
        };
        let then = orders()
            .shared(prices)
            .when(In::PlaceOrder(place(
                basket(&[(tea(), 2), (cup(), 1)]),
                payment_method.clone(),
            )))
            .emits(&[
                Out::Created(order::Created {
                    order_id: id(),
                    owner: "ada".into(),
                    lines: placed().lines,
                    total: euro(1400),
                    payment_method,
                }),
                Out::Deadline(Timer::In(deadline)),
            ]);
        assert_eq!(
            then.decision().reply,
            Some(Ok(Reply {
                order: order.clone(),
                at: noon()
            }))
        );
        then.leaves(&order);
    }
}

#[test]
fn an_order_that_cannot_be_priced_is_refused() {
    let two = || basket(&[(tea(), 2), (cup(), 1)]);
    let dollar = Money::new(900, Currency::USD);
    let mismatch = |product_id, expected, found| Refusal::CurrencyMismatch {
        product_id,
        expected,
        found,
    };
    for (prices, expected_currency, refusal) in [
        (
            vec![(tea(), euro(250))],
            None,
            Refusal::UnknownProducts {
                product_ids: vec![cup()],
            },
        ),
        (
            vec![],
            None,
            Refusal::UnknownProducts {
                product_ids: vec![tea(), cup()],
            },
        ),
        (
            vec![(tea(), euro(250)), (cup(), dollar)],
            None,
            mismatch(cup(), Currency::EUR, Currency::USD),
        ),
        (
            vec![(tea(), euro(250)), (cup(), euro(900))],
            Some(Currency::IDR),
            mismatch(tea(), Currency::IDR, Currency::EUR),
        ),
        (
            vec![(tea(), euro(i64::MAX)), (cup(), euro(1))],
            None,
            Refusal::Overflow,
        ),
        (
            vec![(tea(), euro(1)), (cup(), euro(i64::MAX))],
            None,
            Refusal::Overflow,
        ),
    ] {
        let command = PlaceOrder {
            expected_currency,
            ..place(two(), PaymentMethod::HostedPage)
        };
        let then = orders().shared(prices).when(In::PlaceOrder(command)).emits(&[]);
        assert_eq!(then.decision().reply, Some(Err(refusal)));
        then.leaves(&Order::Absent);
    }
}

#[test]
fn an_id_is_placed_once() {
    let command = place(basket(&[(tea(), 1)]), PaymentMethod::HostedPage);
    for state in [
        pending(),
        cancelled(CancelReason::Customer, Held::Nothing),
        refunded(),
    ] {
        let then = orders()
            .state(state.clone())
            .when(In::PlaceOrder(command.clone()))
            .emits(&[]);
        assert_eq!(then.decision().reply, Some(Err(Refusal::AlreadyPlaced(id()))));
        then.leaves(&state);
    }
}

#[test]
fn a_basket_has_bounds() {
    let item = |n, quantity| Item {
        product_id: ProductId(Uuid::from_u128(n)),
        quantity,
    };
    let many = |n: u128| (0..n).map(|n| item(n, 1)).collect::<Vec<_>>();
    assert!(Basket::new(many(100)).is_ok());
    assert!(Basket::new(vec![item(1, 10_000)]).is_ok());
    for (items, error) in [
        (vec![], BasketError::Empty),
        (many(101), BasketError::TooManyItems { found: 101 }),
        (
            vec![item(1, 1), item(2, 0)],
            BasketError::Quantity { index: 1, found: 0 },
        ),
        (
            vec![item(1, 10_001)],
            BasketError::Quantity {
                index: 0,
                found: 10_001,
            },
        ),
        (
            vec![item(1, 1), item(2, 1), item(1, 1)],
            BasketError::Twice {
                index: 2,
                product_id: ProductId(Uuid::from_u128(1)),
            },
        ),
    ] {
        assert_eq!(Basket::new(items), Err(error));
    }
}

#[test]
fn prices_follow_the_catalogue() {
    let created = |price| {
        In::ProductCreated(product::Created {
            product_id: tea(),
            name: "tea".into(),
            price,
        })
    };
    let changed = |price| {
        In::PriceChanged(product::PriceChanged {
            product_id: tea(),
            price,
        })
    };
    let then = orders()
        .when(created(euro(250)))
        .emits(&[])
        .shared_is(&tea(), &euro(250));
    let then = then
        .and([tea()])
        .when(changed(euro(300)))
        .shared_is(&tea(), &euro(300));
    // The old news come again after a restore.
    then.and([tea()])
        .when(created(euro(250)))
        .shared_is(&tea(), &euro(300))
        .leaves(&Order::Absent);
    // A change that is heard of first is a price as good as any.
    orders()
        .when(changed(euro(300)))
        .shared_is(&tea(), &euro(300))
        .leaves(&Order::Absent);
}
