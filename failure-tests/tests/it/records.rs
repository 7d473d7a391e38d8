use anyhow::{Result, ensure};
use failure_tests::customer::{Customer, Pays};
use failure_tests::topics::{Forger, Record, Topics};
use failure_tests::{System, until};
use quadrille_proto::order::v1::OrderStatus;
use saga_core::envelope;
use saga_core::partitioner::partition_for;
use uuid::Uuid;

use crate::stage::{audit, everyday};

const PLACE: &str = "select next_offset from saga.consumer_offset where topic = $1 and partition = $2";
const PARKED: &str = r#"select count(*) from saga.parked_message where topic = $1 and partition = $2 and "offset" = $3 and reason is not null"#;

type Headers = Vec<(String, Vec<u8>)>;

fn headers(r#type: &str, schema: &str) -> Headers {
    let all = [
        (envelope::CE_ID, Uuid::new_v4().to_string()),
        (envelope::CE_SOURCE, "/elsewhere".to_owned()),
        (envelope::CE_TYPE, r#type.to_owned()),
        (envelope::CE_SPECVERSION, "1.0".to_owned()),
        (envelope::CE_DATASCHEMA, schema.to_owned()),
    ];
    all.map(|(name, value)| (name.to_owned(), value.into_bytes()))
        .into()
}

/// What came of a record at payment: `true` if it was parked.
async fn is_parked(shop: &System, topic: &str, key: &str) -> Result<bool> {
    let mut topics = Topics::open(shop.brokers(), &[topic.to_owned()])?;
    tokio::task::block_in_place(|| topics.catch_up())?;
    let record = topics
        .records
        .iter()
        .find(|record| record.key_text() == key)
        .expect("it was written");
    let database = shop.database("payment").await?;
    until("the record to be read", async || {
        let next: i64 = sqlx::query_scalar(PLACE)
            .bind(topic)
            .bind(record.partition)
            .fetch_one(&database)
            .await?;
        ensure!(next > record.offset, "{next} is not beyond {}", record.offset);
        Ok(())
    })
    .await?;
    let parked: i64 = sqlx::query_scalar(PARKED)
        .bind(topic)
        .bind(record.partition)
        .bind(record.offset)
        .fetch_one(&database)
        .await?;
    Ok(parked == 1)
}

#[test]
fn a_record_that_nobody_can_read_is_parked_and_one_of_an_unknown_type_is_not() {
    everyday(async |shop| {
        let topic = format!("{}order-events", shop.prefix());
        let forger = Forger::new(shop.brokers())?;
        let order = Uuid::new_v4().to_string();
        let confirmed = format!(r#"{{"order_id": "{order}"}}"#).into_bytes();
        let without = |name: &str| {
            let all = headers("order.cancelled", "order.cancelled/1").into_iter();
            all.filter(|(known, _)| known != name).collect::<Headers>()
        };
        let cases: [(&str, Headers, Option<Vec<u8>>, bool); 8] = [
            (
                "unknown type",
                headers("order.gift_wrapped", "order.gift_wrapped/1"),
                Some(b"{}".to_vec()),
                false,
            ),
            (
                "unknown version",
                headers("order.cancelled", "order.cancelled/99"),
                Some(confirmed.clone()),
                true,
            ),
            (
                "garbage",
                headers("order.cancelled", "order.cancelled/1"),
                Some(vec![0xff, 0xfe, 0x00]),
                true,
            ),
            (
                "no value",
                headers("order.cancelled", "order.cancelled/1"),
                None,
                true,
            ),
            ("no headers", Vec::new(), Some(confirmed.clone()), true),
            ("no id", without(envelope::CE_ID), Some(confirmed.clone()), true),
            (
                "no type",
                without(envelope::CE_TYPE),
                Some(confirmed.clone()),
                true,
            ),
            (
                "another's key",
                headers("order.cancelled", "order.cancelled/1"),
                Some(confirmed),
                true,
            ),
        ];
        let mut keys = Vec::new();
        for (what, headers, payload, expected) in cases {
            let key = Uuid::new_v4().to_string();
            forger.write(&Record {
                topic: topic.clone(),
                partition: partition_for(key.as_bytes(), 12),
                offset: -1,
                key: Some(key.clone().into_bytes()),
                headers,
                payload,
            })?;
            keys.push((what, key, expected));
        }
        tokio::task::block_in_place(|| forger.flush())?;
        for (what, key, expected) in keys {
            assert_eq!(is_parked(shop, &topic, &key).await?, expected, "{what}");
        }
        // Everybody else's orders flow.
        let customer = Customer::of(shop)?;
        let tea = customer.product(450, 24).await?;
        for _ in 0..24 {
            customer.place(&[(tea, 1)], Pays::Card("tok_ok")).await?;
        }
        for order in customer.accepted() {
            assert_eq!(customer.watch(order).await?.status(), OrderStatus::Confirmed);
        }
        audit(shop, &customer).await?;
        Ok(())
    });
}
