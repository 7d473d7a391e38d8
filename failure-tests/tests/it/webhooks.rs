use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use failure_tests::customer::{Customer, Pays};
use failure_tests::provider::reference;
use failure_tests::{Provider, until};
use quadrille_contracts::OrderId;
use quadrille_proto::order::v1::OrderStatus;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::cancelling::page_of;
use crate::stage::{audit, everyday};

/// While the provider's webhooks are late: those of everybody, so one scenario at a time does this.
pub(crate) async fn while_held(provider: &Provider, work: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    let _one = ONE.lock().await;
    provider.hold_webhooks(true).await?;
    let worked = work().await;
    provider.hold_webhooks(false).await?;
    worked
}

/// The webhook once it is delivered, at another time than `before`.
async fn delivered(provider: &Provider, order: OrderId, before: &Value) -> Result<Value> {
    until("the webhook to be delivered", async || {
        let webhooks = provider.webhooks(order).await?;
        let done = |webhook: &&Value| {
            !webhook["delivered_at"].is_null() && webhook["delivered_at"] != before["delivered_at"]
        };
        let found = webhooks.iter().find(done).cloned();
        ensure!(found.is_some(), "{webhooks:?}");
        Ok(found.unwrap_or_default())
    })
    .await
}

#[test]
fn a_webhook_that_comes_twice_counts_once() {
    everyday(async |shop| {
        let (customer, provider) = (Customer::of(shop)?, Provider::of(shop)?);
        let tea = customer.product(450, 1).await?;
        let order = customer.place(&[(tea, 1)], Pays::Page).await?;
        assert!(provider.press(&page_of(&customer, order).await?, "pay").await?);
        assert_eq!(customer.watch(order).await?.status(), OrderStatus::Confirmed);
        let webhook = delivered(&provider, order, &Value::Null).await?;
        provider.resend(&webhook).await?;
        delivered(&provider, order, &webhook).await?;
        audit(shop, &customer).await?;
        Ok(())
    });
}

#[test]
fn a_webhook_that_comes_after_everything_is_over_changes_nothing() {
    everyday(async |shop| {
        let (customer, provider) = (Customer::of(shop)?, Provider::of(shop)?);
        let tea = customer.product(450, 1).await?;
        let order = customer.place(&[(tea, 1)], Pays::Page).await?;
        let page = page_of(&customer, order).await?;
        while_held(&provider, async || {
            ensure!(provider.press(&page, "pay").await?, "the page takes no money");
            customer.cancel(order).await?;
            let ended = customer.watch(order).await?;
            ensure!(ended.status() == OrderStatus::Refunded, "{ended:?}");
            audit(shop, &customer).await.map(drop)
        })
        .await?;
        delivered(&provider, order, &Value::Null).await?;
        audit(shop, &customer).await?;
        assert_eq!(customer.order(order).await?.status(), OrderStatus::Refunded);
        Ok(())
    });
}

#[test]
fn a_webhook_that_is_not_the_providers_is_not_believed() {
    everyday(async |shop| {
        let (customer, provider) = (Customer::of(shop)?, Provider::of(shop)?);
        let tea = customer.product(450, 1).await?;
        let order = customer.place(&[(tea, 1)], Pays::Page).await?;
        let page = page_of(&customer, order).await?;
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_secs();
        let paid = |reference: &str, amount_minor: i64| {
            json!({"type": "page.paid", "timestamp": "2026-08-01T12:00:00Z",
                   "data": {"page_id": "pg_forged", "reference": reference, "status": "paid",
                            "amount_minor": amount_minor, "currency": "EUR", "charge_id": "ch_forged"}})
            .to_string()
        };
        let ours = reference(order);
        let stranger = "whsec_YSBzZWNyZXQgb2YgYSBzdHJhbmdlciwgbm90IG91cnM=";
        let right = provider.secret();
        let an_hour = Duration::from_secs(3600).as_secs();
        for (what, secret, sent_at, body, expected) in [
            (
                "a forger",
                stranger,
                now,
                paid(&ours, 450),
                StatusCode::UNAUTHORIZED,
            ),
            (
                "a replay of last hour's",
                right,
                now - an_hour,
                paid(&ours, 450),
                StatusCode::UNAUTHORIZED,
            ),
            (
                "one from the future",
                right,
                now + an_hour,
                paid(&ours, 450),
                StatusCode::UNAUTHORIZED,
            ),
            ("garbage", right, now, "{".to_owned(), StatusCode::BAD_REQUEST),
            (
                "another amount",
                right,
                now,
                paid(&ours, 449),
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            (
                "nobody's payment",
                right,
                now,
                paid("6f2b9f0e-0000-4000-8000-000000000001", 450),
                StatusCode::NOT_FOUND,
            ),
        ] {
            let answer = provider
                .forge(secret, &format!("msg_{}", uuid::Uuid::new_v4()), sent_at, &body)
                .await?;
            assert_eq!(answer, expected, "{what}");
        }
        let order_now = customer.order(order).await?;
        assert_eq!(order_now.status(), OrderStatus::Pending, "{order_now:?}");
        assert!(provider.press(&page, "pay").await?);
        assert_eq!(customer.watch(order).await?.status(), OrderStatus::Confirmed);
        audit(shop, &customer).await?;
        Ok(())
    });
}
