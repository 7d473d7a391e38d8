/// Orders, as the engine loads and saves them.
mod orders;
/// Prices, which orders share.
mod prices;
/// Orders, as callers read them.
mod queries;

use chrono::{DateTime, Utc};
use quadrille_contracts::{OrderId, ProductId};
use saga_core::Money;
use saga_runtime::Store;
use saga_runtime::store::{Rows, Saved};
use sqlx::PgConnection;
use sqlx::migrate::Migrator;

use crate::participant::{Order, Orders};

pub use queries::{Filter, Place, View, count_in_flight, list, read};

/// The service's own tables.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/order");

/// Every statement with its name.
pub fn statements() -> impl Iterator<Item = (&'static str, &'static str)> {
    [orders::ALL, prices::ALL, queries::ALL]
        .into_iter()
        .flatten()
        .copied()
}

/// Order's tables.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tables;

impl Store<Orders> for Tables {
    async fn load(
        &self,
        tx: &mut PgConnection,
        keys: &[OrderId],
    ) -> Result<Rows<OrderId, Order>, sqlx::Error> {
        orders::lock(tx, keys).await
    }

    async fn load_shared(
        &self,
        tx: &mut PgConnection,
        keys: &[ProductId],
    ) -> Result<Rows<ProductId, Option<Money>>, sqlx::Error> {
        prices::lock(tx, keys).await
    }

    async fn read_shared(
        &self,
        tx: &mut PgConnection,
        keys: &[ProductId],
    ) -> Result<Rows<ProductId, Option<Money>>, sqlx::Error> {
        prices::read(tx, keys).await
    }

    async fn save(
        &self,
        tx: &mut PgConnection,
        sagas: &[Saved<Orders>],
        shared: &[(ProductId, Money)],
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        if !sagas.is_empty() {
            orders::save(&mut *tx, sagas, now).await?;
        }
        if !shared.is_empty() {
            prices::save(tx, shared).await?;
        }
        Ok(())
    }

    /// What was asked for and never was. Orders are history and stay.
    async fn prune_blank(
        &self,
        tx: &mut PgConnection,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, sqlx::Error> {
        let orders = orders::prune(&mut *tx, before, limit).await?;
        let prices = prices::prune(tx, before, limit).await?;
        Ok(orders + prices)
    }
}
