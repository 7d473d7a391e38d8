use anyhow::{Result, bail, ensure};
use failure_tests::customer::{Customer, Pays, reason};
use failure_tests::{Provider, System, until};
use quadrille_contracts::OrderId;
use quadrille_proto::order::v1::OrderStatus;
use quadrille_proto::payment::v1::PaymentStatus;
use tonic::Code;

use crate::stage::{audit, everyday};
use crate::webhooks::while_held;

/// How many charges may be over before anybody gets to cancel their orders.
const CHARGES: i64 = 20;

/// The page of an order, once the provider has opened it.
pub(crate) async fn page_of(customer: &Customer, order: OrderId) -> Result<String> {
    until("the payment page", async || {
        let order = customer.order(order).await?;
        ensure!(
            !order.payment_page_url.is_empty(),
            "{:?} has no page yet",
            order.status()
        );
        Ok(order.payment_page_url)
    })
    .await
}

/// Waits until a payment stands there.
pub(crate) async fn payment_is(customer: &Customer, order: OrderId, wanted: PaymentStatus) -> Result<()> {
    until("the payment", async || {
        let is = customer.payment(order).await?.map(|payment| payment.status());
        ensure!(is == Some(wanted), "it is {is:?} and not {wanted:?}");
        Ok(())
    })
    .await
}

/// Waits until the provider is asked, and says whether it has not answered yet.
async fn is_charging(customer: &Customer, order: OrderId) -> Result<bool> {
    until("the charge", async || {
        let is = customer.payment(order).await?.map(|payment| payment.status());
        ensure!(is.is_some_and(|is| is != PaymentStatus::Waiting), "it is {is:?}");
        Ok(is == Some(PaymentStatus::Charging))
    })
    .await
}

async fn refunded(shop: &System, customer: &Customer, order: OrderId) -> Result<()> {
    let ended = customer.watch(order).await?;
    assert_eq!(ended.status(), OrderStatus::Refunded, "{ended:?}");
    let entry = Provider::of(shop)?.entry(order).await?.expect("it was charged");
    assert_eq!(
        (entry.captured_minor, entry.refunded_minor, entry.refunds),
        (450, 450, 1)
    );
    Ok(())
}

#[test]
fn a_cancel_before_the_payment_closes_the_page() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let tea = customer.product(450, 2).await?;
        let order = customer.place(&[(tea, 2)], Pays::Page).await?;
        let page = page_of(&customer, order).await?;
        customer.cancel(order).await?;
        let ended = customer.watch(order).await?;
        assert_eq!(
            (ended.status(), ended.settled),
            (OrderStatus::Cancelled, true),
            "{ended:?}"
        );
        assert!(
            !Provider::of(shop)?.press(&page, "pay").await?,
            "nobody pays for a cancelled order"
        );
        audit(shop, &customer).await?;
        Ok(())
    });
}

#[test]
fn a_cancel_that_comes_at_once_crosses_everything_and_the_books_balance() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let tea = customer.product(450, 100).await?;
        for card in ["tok_ok", "tok_slow", "tok_answer_lost", "tok_declined"] {
            for pays in [Pays::Card(card), Pays::Page] {
                let order = customer.place(&[(tea, 1)], pays).await?;
                match customer.cancel(order).await {
                    Ok(cancelled) => assert_eq!(cancelled.status(), OrderStatus::Cancelled),
                    Err(status) => assert_eq!(status.code(), Code::FailedPrecondition, "{status}"),
                }
            }
        }
        audit(shop, &customer).await?;
        Ok(())
    });
}

#[test]
fn a_cancel_during_the_charge_gives_the_money_back() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let tea = customer.product(450, CHARGES).await?;
        for _ in 0..CHARGES {
            let order = customer.place(&[(tea, 1)], Pays::Card("tok_slow")).await?;
            if !is_charging(&customer, order).await? {
                continue;
            }
            match customer.cancel(order).await {
                Ok(_) => {
                    refunded(shop, &customer, order).await?;
                    audit(shop, &customer).await?;
                    return Ok(());
                }
                Err(status) => assert_eq!(status.code(), Code::FailedPrecondition, "{status}"),
            }
        }
        bail!("of {CHARGES} charges none was still under way when its order was cancelled")
    });
}

#[test]
fn a_cancel_after_the_money_was_taken_and_before_we_know_gives_it_back() {
    everyday(async |shop| {
        let (customer, provider) = (Customer::of(shop)?, Provider::of(shop)?);
        let tea = customer.product(450, 1).await?;
        let order = customer.place(&[(tea, 1)], Pays::Page).await?;
        let page = page_of(&customer, order).await?;
        while_held(&provider, async || {
            ensure!(provider.press(&page, "pay").await?, "the page takes no money");
            customer.cancel(order).await?;
            refunded(shop, &customer, order).await
        })
        .await?;
        audit(shop, &customer).await?;
        Ok(())
    });
}

#[test]
fn a_confirmed_order_cannot_be_cancelled() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let tea = customer.product(450, 1).await?;
        let order = customer.place(&[(tea, 1)], Pays::Card("tok_ok")).await?;
        assert_eq!(customer.watch(order).await?.status(), OrderStatus::Confirmed);
        let status = customer.cancel(order).await.expect_err("it is too late");
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::FailedPrecondition, "ORDER_NOT_PENDING"),
            "{status}"
        );
        assert_eq!(customer.order(order).await?.status(), OrderStatus::Confirmed);
        audit(shop, &customer).await?;
        Ok(())
    });
}
