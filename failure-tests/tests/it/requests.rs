use failure_tests::customer::{Customer, Pays, reason};
use quadrille_contracts::{OrderId, ProductId};
use quadrille_proto::order::v1::{PlaceOrderItem, PlaceOrderRequest};
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::stage::{audit, everyday};

const OK: Pays = Pays::Card("tok_ok");

/// A request, and what is wrong with it.
type Wrong = (&'static str, fn(&mut PlaceOrderRequest));

fn item(request: &PlaceOrderRequest, quantity: i64) -> PlaceOrderItem {
    PlaceOrderItem {
        quantity,
        ..request.items[0].clone()
    }
}

const WRONG: &[Wrong] = &[
    ("items", |request| request.items.clear()),
    ("items[0].quantity", |request| request.items[0].quantity = 0),
    ("items[0].quantity", |request| request.items[0].quantity = -1),
    ("items[0].quantity", |request| request.items[0].quantity = 10_001),
    ("items[0].quantity", |request| {
        request.items[0].quantity = i64::MAX
    }),
    ("items[0].product_id", |request| {
        request.items[0].product_id = "tea".to_owned()
    }),
    ("items[0].product_id", |request| {
        request.items[0].product_id.clear()
    }),
    ("items[1].product_id", |request| {
        request.items.push(item(request, 1))
    }),
    ("items", |request| {
        request.items = (0..101)
            .map(|_| PlaceOrderItem {
                product_id: Uuid::new_v4().to_string(),
                quantity: 1,
            })
            .collect();
    }),
    ("payment_method", |request| request.payment_method = None),
    ("owner", |request| request.owner.clear()),
    ("owner", |request| request.owner = "o".repeat(129)),
    ("expected_currency_code", |request| {
        request.expected_currency_code = Some("euro".to_owned())
    }),
];

#[test]
fn a_wrong_order_is_refused_by_the_field_that_is_wrong() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let tea = customer.product(450, 1).await?;
        for (field, spoil) in WRONG {
            let mut request = customer.basket(&[(tea, 1)], OK);
            spoil(&mut request);
            let status = customer.try_place(request.clone(), None).await.expect_err(field);
            assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status}");
            let details = status.get_details_bad_request().expect("it says which field");
            let named: Vec<&str> = details
                .field_violations
                .iter()
                .map(|one| one.field.as_str())
                .collect();
            assert!(
                named
                    .iter()
                    .any(|name| name == field || name.starts_with(&format!("{field}."))),
                "{field}: {named:?}"
            );
        }
        assert!(customer.everything().await?.is_empty(), "nothing half-written");
        audit(shop, &customer).await?;
        Ok(())
    });
}

#[test]
fn money_that_does_not_fit_is_refused() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let (tea, gold) = (
            customer.product(450, 1).await?,
            customer.product(i64::MAX / 4, 1).await?,
        );
        let dollars = ProductId(Uuid::new_v4());
        customer.create(dollars, "USD", 100).await?;
        for (items, expected) in [
            ([(tea, 1), (dollars, 1)], "CURRENCY_MISMATCH"),
            ([(tea, 1), (gold, 5)], "TOTAL_TOO_LARGE"),
        ] {
            let status = customer
                .try_place(customer.basket(&items, OK), None)
                .await
                .expect_err(expected);
            assert_eq!(
                (status.code(), reason(&status).as_str()),
                (Code::FailedPrecondition, expected),
                "{status}"
            );
        }
        assert!(customer.everything().await?.is_empty());
        audit(shop, &customer).await?;
        Ok(())
    });
}

#[test]
fn a_message_that_is_too_large_is_refused() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let tea = customer.product(450, 1).await?;
        let mut request = customer.basket(&[(tea, 1)], OK);
        request.owner = "o".repeat(2 << 20);
        let status = customer
            .try_place(request, None)
            .await
            .expect_err("two megabytes");
        assert_eq!(status.code(), Code::OutOfRange, "{status}");
        audit(shop, &customer).await?;
        Ok(())
    });
}

#[test]
fn an_idempotency_key_is_for_one_request() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let tea = customer.product(450, 10).await?;
        let request = customer.basket(&[(tea, 1)], OK);
        let first = customer.try_place(request.clone(), Some("the-key")).await?;
        customer.watch(first.order_id.parse()?).await?;
        let again = customer.try_place(request, Some("the-key")).await?;
        assert_eq!(again, first, "the first answer, though the order has gone on");
        let other = customer
            .try_place(customer.basket(&[(tea, 2)], OK), Some("the-key"))
            .await;
        let status = other.expect_err("another body");
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::FailedPrecondition, "IDEMPOTENCY_KEY_REUSED"),
            "{status}"
        );
        let long = "k".repeat(129);
        let status = customer
            .try_place(customer.basket(&[(tea, 1)], OK), Some(&long))
            .await
            .expect_err("too long");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert_eq!(customer.everything().await?.len(), 1);
        audit(shop, &customer).await?;
        Ok(())
    });
}

#[test]
fn an_order_that_is_not_there_is_not_found() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let nobody = OrderId(Uuid::new_v4());
        let status = customer.cancel(nobody).await.expect_err("there is none");
        assert_eq!(status.code(), Code::NotFound, "{status}");
        assert!(customer.order(nobody).await.is_err());
        Ok(())
    });
}
