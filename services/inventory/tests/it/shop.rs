use std::ops::Deref;

use anyhow::{Context as _, Result};
use inventory::participant::{In, Shelf};
use inventory::store::{self, MIGRATOR};
use inventory::{Config, Running};
use quadrille_contracts::order::{self, CancelReason, PaymentMethod};
use quadrille_contracts::{OrderId, ProductId};
use quadrille_process::Failure;
use quadrille_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use quadrille_proto::inventory::v1::{ReceiveStockRequest, ReceiveStockResponse};
use saga_core::{Currency, Money};
use service_testing::{PATIENCE, World, within};
use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use uuid::Uuid;

/// A world with inventory at work in it.
pub(crate) struct Shop {
    world: World,
    pub(crate) api: InventoryServiceClient<Channel>,
    /// A test that fails ends the service as well.
    stop: DropGuard,
    ended: JoinHandle<Result<(), Failure>>,
}

impl Shop {
    pub(crate) async fn open() -> Result<Self> {
        let world = World::new("inventory", &MIGRATOR, &saga_core::input::topics::<In>()).await?;
        let process = world.process()?;
        let config = world.env(&[]).build(Config::read)?;
        let running = Running::start(config, &process).await.map_err(failed)?;
        let channel = Endpoint::from_shared(format!("http://{}", running.grpc))?.timeout(PATIENCE);
        let api = InventoryServiceClient::new(channel.connect().await?);
        Ok(Self {
            world,
            api,
            stop: process.shutdown.drop_guard(),
            ended: tokio::spawn(running.ended()),
        })
    }

    pub(crate) async fn close(self) -> Result<()> {
        drop(self.stop);
        within("the service stops", self.ended).await??.map_err(failed)
    }

    pub(crate) async fn receive(&self, product_id: ProductId, quantity: i64) -> Result<()> {
        self.receive_as(&Uuid::new_v4().to_string(), product_id, quantity)
            .await?;
        Ok(())
    }

    pub(crate) async fn receive_as(
        &self,
        key: &str,
        product_id: ProductId,
        quantity: i64,
    ) -> Result<ReceiveStockResponse, Status> {
        let mut request = Request::new(ReceiveStockRequest {
            product_id: product_id.to_string(),
            quantity,
        });
        let key = key.parse().expect("a header value");
        request.metadata_mut().insert("idempotency-key", key);
        Ok(self.api.clone().receive_stock(request).await?.into_inner())
    }

    /// On hand, held, sold.
    pub(crate) async fn stock(&self, product_id: ProductId) -> Result<[u64; 3]> {
        let shelf = store::shelf(&self.pool, product_id).await?.context("no stock")?;
        assert!(shelf.balances(), "{shelf:?}");
        let Shelf {
            on_hand, held, sold, ..
        } = shelf;
        Ok([on_hand, held, sold])
    }
}

impl Deref for Shop {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

fn failed(failure: Failure) -> anyhow::Error {
    anyhow::anyhow!("{failure}")
}

pub(crate) fn new_order() -> OrderId {
    OrderId(Uuid::new_v4())
}

pub(crate) fn new_product() -> ProductId {
    ProductId(Uuid::new_v4())
}

pub(crate) fn created(order_id: OrderId, lines: &[(ProductId, u32)]) -> order::Created {
    let price = Money::new(100, Currency::EUR);
    order::Created {
        order_id,
        owner: "ann".into(),
        lines: lines
            .iter()
            .map(|&(product_id, quantity)| order::Line {
                product_id,
                quantity,
                unit_price: price,
            })
            .collect(),
        total: price,
        payment_method: PaymentMethod::HostedPage,
    }
}

pub(crate) fn confirmed(order_id: OrderId) -> order::Confirmed {
    order::Confirmed { order_id }
}

pub(crate) fn cancelled(order_id: OrderId) -> order::Cancelled {
    order::Cancelled {
        order_id,
        reason: CancelReason::Customer,
    }
}
