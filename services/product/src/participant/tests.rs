use saga_core::testkit::{Given, given, noon};
use uuid::Uuid;

use super::*;

fn tea() -> ProductId {
    ProductId(Uuid::from_u128(10))
}

fn euro(minor: i64) -> Money {
    Money::new(minor, Currency::EUR)
}

fn listing(price: Money) -> Listing {
    Listing {
        product_id: tea(),
        name: "tea".into(),
        price,
    }
}

fn reply(price: Money) -> Reply {
    Reply {
        listing: listing(price),
        at: noon(),
    }
}

fn change(price: Money) -> In {
    In::ChangePrice(ChangePrice {
        product_id: tea(),
        price,
    })
}

fn catalogue() -> Given<'static, Catalogue> {
    given(&Catalogue)
}

#[test]
fn a_product_is_created_once() {
    let then = catalogue()
        .when(In::Create(listing(euro(250))))
        .emits(&[Out::Created(product::Created {
            product_id: tea(),
            name: "tea".into(),
            price: euro(250),
        })]);
    assert_eq!(then.decision().reply, Some(Ok(reply(euro(250)))));
    let then = then.and([]).when(In::Create(listing(euro(300)))).emits(&[]);
    assert_eq!(then.decision().reply, Some(Err(Refusal::AlreadyExists(tea()))));
    then.leaves(&Product::Listed(listing(euro(250))));
}

#[test]
fn a_new_price_is_news() {
    let then = catalogue()
        .state(Product::Listed(listing(euro(250))))
        .when(change(euro(300)))
        .emits(&[Out::PriceChanged(product::PriceChanged {
            product_id: tea(),
            price: euro(300),
        })]);
    assert_eq!(then.decision().reply, Some(Ok(reply(euro(300)))));
    then.leaves(&Product::Listed(listing(euro(300))));
}

#[test]
fn the_price_that_it_has_is_not() {
    let then = catalogue()
        .state(Product::Listed(listing(euro(250))))
        .when(change(euro(250)))
        .emits(&[]);
    assert_eq!(then.decision().reply, Some(Ok(reply(euro(250)))));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let listed = || Product::Listed(listing(euro(250)));
    let dollar = Money::new(250, Currency::USD);
    for (state, input, refusal) in [
        (
            Product::Absent,
            In::Create(listing(euro(0))),
            Refusal::NotPositive(euro(0)),
        ),
        (
            Product::Absent,
            In::Create(listing(euro(-1))),
            Refusal::NotPositive(euro(-1)),
        ),
        (listed(), change(euro(0)), Refusal::NotPositive(euro(0))),
        (Product::Absent, change(euro(1)), Refusal::NotFound(tea())),
        (
            listed(),
            change(dollar),
            Refusal::CurrencyChange {
                priced: Currency::EUR,
                asked: Currency::USD,
            },
        ),
    ] {
        let then = catalogue().state(state.clone()).when(input).emits(&[]);
        assert_eq!(then.decision().reply, Some(Err(refusal)));
        then.leaves(&state);
    }
}
