use anyhow::{Result, ensure};
use failure_tests::customer::{Customer, Pays};
use failure_tests::provider::reference;
use failure_tests::{Provider, until};
use quadrille_contracts::{OrderId, PaymentId};
use quadrille_proto::order::v1::OrderStatus;
use quadrille_proto::payment::v1::PaymentStatus;
use serde_json::json;

use crate::cancelling::{page_of, payment_is};
use crate::stage::{alone, audit, everyday};
use crate::webhooks::while_held;

#[test]
fn a_charge_whose_answer_is_lost_is_not_made_twice() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let tea = customer.product(450, 2).await?;
        for card in ["tok_answer_lost", "tok_error_then_ok"] {
            let order = customer.place(&[(tea, 1)], Pays::Card(card)).await?;
            assert_eq!(
                customer.watch(order).await?.status(),
                OrderStatus::Confirmed,
                "{card}"
            );
            let entry = Provider::of(shop)?.entry(order).await?.expect("it was charged");
            assert_eq!(entry.charges, 1, "{card}");
        }
        audit(shop, &customer).await?;
        Ok(())
    });
}

#[test]
fn a_provider_that_never_answers_costs_nobody_anything() {
    everyday(async |shop| {
        let customer = Customer::of(shop)?;
        let tea = customer.product(450, 1).await?;
        let order = customer.place(&[(tea, 1)], Pays::Card("tok_never")).await?;
        let ended = customer.watch(order).await?;
        assert_eq!(
            (ended.status(), ended.settled),
            (OrderStatus::Cancelled, true),
            "{ended:?}"
        );
        audit(shop, &customer).await?;
        Ok(())
    });
}

/// Exhausted is not failed: the money was taken each time, only nobody said so.
#[test]
fn a_charge_that_stays_unknown_is_asked_about_until_it_is_known() {
    alone(async |shop| {
        let (customer, provider) = (Customer::of(shop)?, Provider::of(shop)?);
        let tea = customer.product(450, 1).await?;
        shop.program("payment").stop().await?;
        let order = customer.place(&[(tea, 1)], Pays::Card("tok_ok")).await?;
        // As often as the policy allows, so that the attempts end without an answer.
        let lost =
            json!({"fault": "lose_answer", "operation": "charge", "calls": 3, "reference": reference(order)});
        provider.misbehave(lost).await?;
        shop.program("payment").start_ready().await?;
        let ended = customer.watch(order).await?;
        assert_eq!(ended.status(), OrderStatus::Confirmed, "{ended:?}");
        audit(shop, &customer).await?;
        Ok(())
    });
}

#[test]
fn a_refund_that_cannot_be_made_is_parked_and_visible() {
    alone(async |shop| {
        let (customer, provider) = (Customer::of(shop)?, Provider::of(shop)?);
        let tea = customer.product(450, 1).await?;
        let order = customer.place(&[(tea, 1)], Pays::Page).await?;
        let page = page_of(&customer, order).await?;
        provider
            .misbehave(json!({"fault": "refuse", "operation": "refund", "calls": 100}))
            .await?;
        while_held(&provider, async || {
            ensure!(provider.press(&page, "pay").await?, "the page takes no money");
            // We have not heard that it was paid, and learn it from the answer to our closing the page.
            customer.cancel(order).await?;
            let ended = customer.watch(order).await?;
            ensure!(
                ended.status() == OrderStatus::Cancelled && ended.money_owed,
                "{ended:?}"
            );
            payment_is(&customer, order, PaymentStatus::RefundParked).await
        })
        .await?;
        provider.behave().await?;
        audit(shop, &customer).await?;
        Ok(())
    });
}

#[test]
fn a_page_is_paid_or_declined() {
    everyday(async |shop| {
        let (customer, provider) = (Customer::of(shop)?, Provider::of(shop)?);
        let tea = customer.product(450, 2).await?;
        let paid = customer.place(&[(tea, 1)], Pays::Page).await?;
        let declined = customer.place(&[(tea, 1)], Pays::Page).await?;
        assert!(provider.press(&page_of(&customer, paid).await?, "pay").await?);
        assert!(
            provider
                .press(&page_of(&customer, declined).await?, "decline")
                .await?
        );
        assert_eq!(customer.watch(paid).await?.status(), OrderStatus::Confirmed);
        let ended = customer.watch(declined).await?;
        assert_eq!(
            (ended.status(), ended.reason.as_str()),
            (OrderStatus::Cancelled, "PAYMENT_DECLINED"),
            "{ended:?}"
        );
        audit(shop, &customer).await?;
        Ok(())
    });
}

#[test]
fn a_page_that_nobody_pays_expires() {
    everyday(async |shop| {
        let (customer, provider) = (Customer::of(shop)?, Provider::of(shop)?);
        let tea = customer.product(450, 3).await?;
        let [ours, theirs, neither] = [
            customer.place(&[(tea, 1)], Pays::Page).await?,
            customer.place(&[(tea, 1)], Pays::Page).await?,
            customer.place(&[(tea, 1)], Pays::Page).await?,
        ];
        let mut pages = Vec::new();
        for order in [ours, theirs, neither] {
            pages.push(page_of(&customer, order).await?);
        }
        // Our own timer; the provider's clock; and the deadline of the order itself, which is later than both.
        let payment = shop.database("payment").await?;
        fire(&payment, ours).await?;
        let sandbox = shop.database("sandbox").await?;
        let there = sqlx::query("update page set expires_at = now() where reference = $1")
            .bind(PaymentId::of(theirs).to_string())
            .execute(&sandbox)
            .await?;
        assert_eq!(there.rows_affected(), 1);
        let order = shop.database("order").await?;
        fire(&order, neither).await?;
        for (id, reason) in [
            (ours, "PAYMENT_EXPIRED"),
            (theirs, "PAYMENT_EXPIRED"),
            (neither, "DEADLINE"),
        ] {
            let ended = customer.watch(id).await?;
            assert_eq!(
                (ended.status(), ended.settled),
                (OrderStatus::Cancelled, true),
                "{ended:?}"
            );
            assert_eq!(ended.reason, reason, "{ended:?}");
        }
        for page in pages {
            assert!(
                !provider.press(&page, "pay").await?,
                "{page} can be paid after its end"
            );
        }
        audit(shop, &customer).await?;
        Ok(())
    });
}

/// Has a timer fire now.
async fn fire(database: &sqlx::PgPool, order: OrderId) -> Result<()> {
    const NOW: &str = "update saga.timer set due_at = now() where saga = $1";
    until("the timer to be there", async || {
        let moved = sqlx::query(NOW)
            .bind(order.to_string())
            .execute(database)
            .await?
            .rows_affected();
        ensure!(moved == 1, "{moved} timers");
        Ok(())
    })
    .await
}
