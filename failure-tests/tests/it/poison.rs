use anyhow::{Result, ensure};
use failure_tests::customer::{Customer, Pays};
use failure_tests::topics::{Forger, Record, Topics};
use failure_tests::{Accountant, Provider, System, until};
use quadrille_contracts::OrderId;
use quadrille_proto::order::v1::OrderStatus;
use saga_core::envelope;
use saga_core::partitioner::partition_for;
use uuid::Uuid;

use crate::cancelling::page_of;
use crate::stage::{Busy, alone};

const PARKED: &str = "select reason from saga.parked_key where key = $1";
/// What an operator does who throws a message away.
const DISCARD: &str = "delete from saga.parked_message where key = $1 and reason is not null";
const REPLAY: &str = "update saga.parked_key set replay_requested = now() where key = $1";

/// An event of this order that says what no `order.cancelled` says.
fn garbage(topic: &str, order: OrderId) -> Record {
    let headers = [
        (envelope::CE_ID, Uuid::new_v4().to_string()),
        (envelope::CE_SOURCE, "/somebody".to_owned()),
        (envelope::CE_TYPE, "order.cancelled".to_owned()),
        (envelope::CE_SPECVERSION, "1.0".to_owned()),
        (envelope::CE_DATASCHEMA, "order.cancelled/1".to_owned()),
    ];
    let key = order.to_string();
    Record {
        topic: topic.to_owned(),
        partition: partition_for(key.as_bytes(), 12),
        offset: -1,
        key: Some(key.into_bytes()),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.into_bytes()))
            .into(),
        payload: Some(b"{\"order_id\": 7".to_vec()),
    }
}

async fn is_parked(shop: &System, database: &str, order: OrderId) -> Result<()> {
    let pool = shop.database(database).await?;
    until("the key to be parked", async || {
        let reason: Option<String> = sqlx::query_scalar(PARKED)
            .bind(order.to_string())
            .fetch_optional(&pool)
            .await?;
        ensure!(reason.is_some(), "{order} is not parked in {database}");
        Ok(())
    })
    .await
}

#[test]
fn a_poison_record_parks_its_key_and_nobody_elses() {
    alone(async |shop| {
        let (customer, provider) = (Customer::of(shop)?, Provider::of(shop)?);
        let tea = customer.product(450, 5).await?;
        let order = customer.place(&[(tea, 1)], Pays::Page).await?;
        let page = page_of(&customer, order).await?;
        let topic = format!("{}order-events", shop.prefix());

        // In the middle of everybody's events.
        let busy = Busy::new(shop, 150, 7).await?;
        let poison = async {
            until("orders to be placed", async || {
                let placed = busy.progress.load(std::sync::atomic::Ordering::Relaxed);
                ensure!(placed >= 40, "{placed}");
                Ok(())
            })
            .await?;
            let forger = Forger::new(shop.brokers())?;
            forger.write(&garbage(&topic, order))?;
            tokio::task::block_in_place(|| forger.flush())
        };
        tokio::try_join!(busy.order(), poison)?;
        for database in ["inventory", "payment"] {
            is_parked(shop, database, order).await?;
        }
        Accountant::new(shop, &busy.customer)
            .with_foreign_records()
            .audit()
            .await?;

        // The customer pays; what follows waits behind the poison, and is not lost.
        assert!(provider.press(&page, "pay").await?);
        Accountant::new(shop, &customer)
            .parked(order)
            .with_foreign_records()
            .audit()
            .await?;
        let dead = format!("{topic}-dlt");
        let copies = tokio::task::block_in_place(|| {
            let mut letters = Topics::open(shop.brokers(), &[dead])?;
            letters.catch_up()?;
            anyhow::Ok(
                letters
                    .records
                    .iter()
                    .filter(|record| record.key_text() == order.to_string())
                    .count(),
            )
        })?;
        assert_eq!(copies, 2, "one of inventory and one of payment");

        for database in ["inventory", "payment"] {
            let pool = shop.database(database).await?;
            let discarded = sqlx::query(DISCARD)
                .bind(order.to_string())
                .execute(&pool)
                .await?;
            assert_eq!(discarded.rows_affected(), 1, "{database}");
            sqlx::query(REPLAY).bind(order.to_string()).execute(&pool).await?;
        }
        assert_eq!(customer.watch(order).await?.status(), OrderStatus::Confirmed);
        Accountant::new(shop, &customer)
            .with_foreign_records()
            .audit()
            .await?;
        Ok(())
    });
}
