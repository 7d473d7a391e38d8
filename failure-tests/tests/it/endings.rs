use failure_tests::Customer;
use failure_tests::Provider;
use failure_tests::customer::{Pays, reason};
use quadrille_contracts::ProductId;
use quadrille_proto::order::v1::OrderStatus;
use tonic::Code;
use uuid::Uuid;

use crate::stage::{audit, everyday};

const OK: Pays = Pays::Card("tok_ok");

#[test]
fn an_order_that_is_paid_is_confirmed() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let (tea, milk) = (customer.product(450, 10).await?, customer.product(120, 10).await?);
        let order = customer.place(&[(tea, 2), (milk, 1)], OK).await?;
        let ended = customer.watch(order).await?;
        assert_eq!(ended.status(), OrderStatus::Confirmed, "{ended:?}");
        assert_eq!(ended.total.map(|total| total.minor_units), Some(2 * 450 + 120));
        audit(shop, &customer).await?;
        let entry = Provider::of(shop)?.entry(order).await?.expect("it was charged");
        assert_eq!((entry.captured_minor, entry.charges), (1_020, 1));
        Ok(())
    });
}

#[test]
fn an_order_without_stock_is_rejected_and_not_charged() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let (tea, milk) = (customer.product(450, 5).await?, customer.product(120, 1).await?);
        let order = customer.place(&[(tea, 5), (milk, 2)], OK).await?;
        let ended = customer.watch(order).await?;
        assert_eq!(ended.status(), OrderStatus::Rejected, "{ended:?}");
        audit(shop, &customer).await?;
        assert!(
            Provider::of(shop)?.entry(order).await?.is_none(),
            "nobody is charged for nothing"
        );
        // All or nothing: the tea is still there for somebody else.
        let second = customer.place(&[(tea, 5)], OK).await?;
        assert_eq!(customer.watch(second).await?.status(), OrderStatus::Confirmed);
        audit(shop, &customer).await?;
        Ok(())
    });
}

#[test]
fn an_order_that_the_bank_declines_is_cancelled_and_its_stock_comes_back() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let tea = customer.product(450, 3).await?;
        for card in ["tok_declined", "tok_insufficient_funds", "tok_no_such_card"] {
            let order = customer.place(&[(tea, 3)], Pays::Card(card)).await?;
            let ended = customer.watch(order).await?;
            assert_eq!(
                (ended.status(), ended.settled),
                (OrderStatus::Cancelled, true),
                "{card}: {ended:?}"
            );
            assert_eq!(ended.reason, "PAYMENT_DECLINED", "{card}");
            // The order ends when the money is settled; its stock is on the way.
            customer.shelf(tea, 3).await?;
        }
        audit(shop, &customer).await?;
        Ok(())
    });
}

#[test]
fn what_has_no_price_cannot_be_ordered() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let tea = customer.product(450, 1).await?;
        let nowhere = ProductId(Uuid::new_v4());
        let refused = customer
            .try_place(customer.basket(&[(tea, 1), (nowhere, 1)], OK), None)
            .await;
        let status = refused.expect_err("it has no price");
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::FailedPrecondition, "UNKNOWN_PRODUCT"),
            "{status}"
        );
        assert!(status.message().contains(&nowhere.to_string()), "{status}");
        assert!(customer.everything().await?.is_empty());
        audit(shop, &customer).await?;
        Ok(())
    });
}

#[test]
fn of_two_orders_for_the_last_one_gets_it() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let (tea, milk) = (customer.product(450, 1).await?, customer.product(120, 9).await?);
        for _ in 0..3 {
            let (one, two) = ([(tea, 1), (milk, 1)], [(milk, 1), (tea, 1)]);
            let (one, two) = tokio::try_join!(customer.place(&one, OK), customer.place(&two, OK))?;
            let (one, two) = tokio::try_join!(customer.watch(one), customer.watch(two))?;
            let mut ends = [one.status(), two.status()];
            ends.sort_unstable();
            assert_eq!(ends, [OrderStatus::Confirmed, OrderStatus::Rejected]);
            customer.deliver(tea, 1).await?;
        }
        audit(shop, &customer).await?;
        Ok(())
    });
}
