use product::store::MIGRATOR;
use product::{Config, Running};
use quadrille_contracts::ProductId;
use quadrille_process::Failure;
use quadrille_proto::product::v1::product_service_client::ProductServiceClient;
use quadrille_proto::product::v1::{CreateProductRequest, Product};
use quadrille_proto::r#type::v1::Money;
use service_testing::{World, within};
use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_types::{ErrorDetails, StatusExt};
use uuid::Uuid;

/// A running product service.
pub(crate) struct Shop {
    pub(crate) client: ProductServiceClient<Channel>,
    pub(crate) channel: Channel,
    pub(crate) world: World,
    /// A test that fails ends the service as well.
    stop: DropGuard,
    service: JoinHandle<Result<(), Failure>>,
}

/// It consumes no topic; its own is one.
pub(crate) async fn world() -> World {
    World::new("product", &MIGRATOR, &["product-events"])
        .await
        .unwrap()
}

impl Shop {
    pub(crate) async fn open() -> Shop {
        let world = world().await;
        let config = world.env(&[]).build(Config::read).unwrap();
        let process = world.process().unwrap();
        let running = Running::start(config, &process).await.unwrap();
        let address = Channel::from_shared(format!("http://{}", running.grpc)).unwrap();
        let channel = address.connect().await.unwrap();
        Shop {
            client: ProductServiceClient::new(channel.clone()),
            channel,
            world,
            stop: process.shutdown.drop_guard(),
            service: tokio::spawn(running.ended()),
        }
    }

    /// Tells it to stop, and waits until it did.
    pub(crate) async fn close(self) {
        drop(self.stop);
        within("the service stops", self.service)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }

    pub(crate) async fn create(&self, request: Request<CreateProductRequest>) -> Result<Product, Status> {
        let answer = self.client.clone().create_product(request).await?;
        Ok(answer.into_inner().product.unwrap())
    }

    /// Everything that a refused command could have left behind.
    pub(crate) async fn traces(&self) -> (i64, i64, i64) {
        sqlx::query_as(
            "select (select count(*) from product where name is not null),
                    (select count(*) from saga.outbox),
                    (select count(*) from saga.command)",
        )
        .fetch_one(&self.world.pool)
        .await
        .unwrap()
    }

    /// Events in the order in which they were written.
    pub(crate) async fn events(&self) -> Vec<(String, serde_json::Value)> {
        sqlx::query_as("select type, convert_from(payload, 'UTF8')::jsonb from saga.outbox order by position")
            .fetch_all(&self.world.pool)
            .await
            .unwrap()
    }
}

pub(crate) fn id() -> ProductId {
    ProductId(Uuid::new_v4())
}

pub(crate) fn euro(minor_units: i64) -> Money {
    Money {
        currency_code: "EUR".to_owned(),
        minor_units,
    }
}

pub(crate) fn tea(minor_units: i64) -> CreateProductRequest {
    CreateProductRequest {
        product_id: None,
        name: "tea".to_owned(),
        price: Some(euro(minor_units)),
    }
}

/// The same request under an idempotency key.
pub(crate) fn keyed<T>(key: &str, request: T) -> Request<T> {
    let mut request = Request::new(request);
    request
        .metadata_mut()
        .insert("idempotency-key", key.parse().unwrap());
    request
}

/// Reason and fields of an error.
pub(crate) fn details(status: &Status) -> (String, Vec<String>) {
    let details: ErrorDetails = status.get_error_details();
    let reason = details
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default();
    let fields = details
        .bad_request()
        .map(|bad| {
            bad.field_violations
                .iter()
                .map(|violation| violation.field.clone())
                .collect()
        })
        .unwrap_or_default();
    (reason, fields)
}
