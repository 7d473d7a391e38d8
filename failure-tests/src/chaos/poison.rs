use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use quadrille_contracts::{OrderId, ProductId};
use saga_core::envelope;
use saga_core::partitioner::partition_for;
use sqlx::PgPool;
use uuid::Uuid;

use crate::chaos::ground::Ground;
use crate::customer::{Customer, Pays};
use crate::topics::{Forger, Record};
use crate::wait::until;

const PARTITIONS: i32 = 12;
const PARKED: &str = "select exists (select from saga.parked_key where key = $1)";
/// What an operator does who throws a message away, and has what waits behind it applied.
const DISCARD: &str = "delete from saga.parked_message where key = $1 and reason is not null";
const REPLAY: &str = "update saga.parked_key set replay_requested = now() where key = $1";

/// Sagas into which records are thrown that nobody can read.
#[derive(Debug)]
pub(crate) struct Poison {
    customer: Customer,
    product: ProductId,
    readers: [PgPool; 2],
    /// With whether the saga was mended.
    orders: Mutex<BTreeMap<OrderId, bool>>,
}

impl Poison {
    pub(crate) async fn prepare(ground: &Ground) -> Result<Self> {
        let customer = Customer::of(&ground.system)?;
        let product = customer.product(450, 1_000_000).await?;
        Ok(Self {
            customer,
            product,
            readers: [
                ground.system.database("inventory").await?,
                ground.system.database("payment").await?,
            ],
            orders: Mutex::default(),
        })
    }

    /// Poisons a saga of its own. Its key is parked by both who read it; if it is `mended`, it goes on afterwards.
    pub(crate) async fn strike(&self, ground: &Ground, mended: bool) -> Result<()> {
        let order = self.customer.place(&[(self.product, 1)], Pays::Page).await?;
        self.lock().insert(order, false);
        let record = garbage(&ground.system.topic("order-events"), order);
        let brokers = ground.system.brokers().to_owned();
        tokio::task::spawn_blocking(move || {
            let forger = Forger::new(&brokers)?;
            forger.write(&record)?;
            // It may be frozen, or be away.
            let flushed = forger.flush().or_else(|_| forger.flush());
            flushed.or_else(|_| forger.flush())
        })
        .await??;
        let key = order.to_string();
        for reader in &self.readers {
            until("a poisoned key to be parked", async || {
                let parked: bool = sqlx::query_scalar(PARKED).bind(&key).fetch_one(reader).await?;
                ensure!(parked, "{key} is not");
                Ok(())
            })
            .await?;
        }
        if mended {
            for reader in &self.readers {
                until("a poisoned key to be mended", async || {
                    let mut together = reader.begin().await?;
                    sqlx::query(DISCARD).bind(&key).execute(&mut *together).await?;
                    sqlx::query(REPLAY).bind(&key).execute(&mut *together).await?;
                    together.commit().await
                })
                .await?;
            }
            self.lock().insert(order, true);
        }
        Ok(())
    }

    /// Every order that was poisoned, with whether it was mended.
    pub(crate) fn orders(&self) -> BTreeMap<OrderId, bool> {
        self.lock().clone()
    }

    /// Every order of this customer that was taken, poisoned or not yet.
    pub(crate) fn accepted(&self) -> Vec<OrderId> {
        self.customer.accepted()
    }

    /// What was delivered to its shelf.
    pub(crate) fn delivered(&self) -> BTreeMap<ProductId, i64> {
        self.customer.delivered()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<OrderId, bool>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event about this order that says what no `order.cancelled` says.
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
        partition: partition_for(key.as_bytes(), PARTITIONS),
        offset: -1,
        key: Some(key.into_bytes()),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.into_bytes()))
            .into(),
        payload: Some(b"{\"order_id\": 7".to_vec()),
    }
}
