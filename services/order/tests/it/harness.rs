use order::store::MIGRATOR;
use order::{Config, Running};
use quadrille_contracts::{OrderId, PaymentId, ProductId};
use quadrille_process::Failure;
use quadrille_process::telemetry::Telemetry;
use quadrille_proto::order::v1::order_service_client::OrderServiceClient;
use quadrille_proto::order::v1::payment_method::Method;
use quadrille_proto::order::v1::{
    CancelOrderRequest, Card, GetOrderRequest, HostedPage, Order, PaymentMethod, PlaceOrderItem,
    PlaceOrderRequest,
};
use quadrille_proto::r#type::v1::Money;
use saga_core::Event;
use service_testing::{World, until, within};
use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

/// A running order service.
pub(crate) struct Shop {
    pub(crate) client: OrderServiceClient<Channel>,
    pub(crate) channel: Channel,
    pub(crate) world: World,
    pub(crate) telemetry: Telemetry,
    /// A test that fails ends the service as well.
    stop: DropGuard,
    service: JoinHandle<Result<(), Failure>>,
}

pub(crate) async fn world() -> World {
    World::new(
        "order",
        &MIGRATOR,
        &["product-events", "stock-events", "payment-events"],
    )
    .await
    .unwrap()
}

impl Shop {
    pub(crate) async fn open() -> Shop {
        Shop::open_with(&[]).await
    }

    pub(crate) async fn open_with(settings: &[(&str, &str)]) -> Shop {
        let world = world().await;
        let config = world.env(settings).build(Config::read).unwrap();
        let process = world.process().unwrap();
        let running = Running::start(config, &process).await.unwrap();
        let address = Channel::from_shared(format!("http://{}", running.grpc)).unwrap();
        let channel = address.connect().await.unwrap();
        Shop {
            client: OrderServiceClient::new(channel.clone()),
            channel,
            world,
            telemetry: process.telemetry.clone(),
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

    /// A product at this price, as if the catalogue had published it long ago.
    pub(crate) async fn product(&self, price_minor: i64, currency: &str) -> ProductId {
        let product_id = ProductId(Uuid::new_v4());
        sqlx::query("insert into price (product_id, price_minor, currency) values ($1, $2, $3)")
            .bind(product_id.0)
            .bind(price_minor)
            .bind(currency)
            .execute(&self.world.pool)
            .await
            .unwrap();
        product_id
    }

    pub(crate) async fn place(&self, request: impl Into<Place>) -> Result<Order, Status> {
        let answer = self.client.clone().place_order(request.into().0).await?;
        Ok(answer.into_inner().order.unwrap())
    }

    /// An order of one product at 2.50 EUR, paid with a card.
    pub(crate) async fn placed(&self) -> Order {
        let tea = self.product(250, "EUR").await;
        self.place(order_of(&[(tea, 1)])).await.unwrap()
    }

    pub(crate) async fn get(&self, order_id: &str) -> Result<Order, Status> {
        let request = GetOrderRequest {
            order_id: order_id.to_owned(),
        };
        Ok(self
            .client
            .clone()
            .get_order(request)
            .await?
            .into_inner()
            .order
            .unwrap())
    }

    pub(crate) async fn cancel(&self, order_id: &str, key: &str) -> Result<Order, Status> {
        let request = keyed(
            key,
            CancelOrderRequest {
                order_id: order_id.to_owned(),
            },
        );
        Ok(self
            .client
            .clone()
            .cancel_order(request)
            .await?
            .into_inner()
            .order
            .unwrap())
    }

    /// The order, once it is so.
    pub(crate) async fn until(&self, order_id: &str, so: impl Fn(&Order) -> bool) -> Order {
        until("the order is so", async || Ok(so(&self.get(order_id).await?)))
            .await
            .unwrap();
        self.get(order_id).await.unwrap()
    }

    pub(crate) async fn send(&self, event: &impl Event) {
        self.world.send(event).await.unwrap();
    }

    /// Everything that a refused command could have left behind.
    pub(crate) async fn traces(&self) -> (i64, i64, i64, i64) {
        sqlx::query_as(
            "select (select count(*) from orders where status is not null), (select count(*) from saga.outbox),
                    (select count(*) from saga.command), (select count(*) from saga.timer)",
        )
        .fetch_one(&self.world.pool)
        .await
        .unwrap()
    }

    pub(crate) async fn published(&self, order: &Order) -> Vec<String> {
        let published = self.world.published(&order.order_id).await.unwrap();
        published.into_iter().map(|(name, _)| name).collect()
    }
}

/// A request to place an order, with or without a key.
pub(crate) struct Place(Request<PlaceOrderRequest>);

impl From<PlaceOrderRequest> for Place {
    fn from(request: PlaceOrderRequest) -> Self {
        Self(Request::new(request))
    }
}

impl From<Request<PlaceOrderRequest>> for Place {
    fn from(request: Request<PlaceOrderRequest>) -> Self {
        Self(request)
    }
}

pub(crate) fn order_of(items: &[(ProductId, i64)]) -> PlaceOrderRequest {
    PlaceOrderRequest {
        owner: "ann".to_owned(),
        items: items
            .iter()
            .map(|(product_id, quantity)| PlaceOrderItem {
                product_id: product_id.to_string(),
                quantity: *quantity,
            })
            .collect(),
        payment_method: card("tok_visa"),
        expected_currency_code: None,
    }
}

pub(crate) fn card(token: &str) -> Option<PaymentMethod> {
    let token = token.to_owned();
    Some(PaymentMethod {
        method: Some(Method::Card(Card { token })),
    })
}

pub(crate) fn hosted_page() -> Option<PaymentMethod> {
    Some(PaymentMethod {
        method: Some(Method::HostedPage(HostedPage {})),
    })
}

pub(crate) fn money(minor_units: i64, code: &str) -> Option<Money> {
    Some(Money {
        currency_code: code.to_owned(),
        minor_units,
    })
}

/// Ids of an order and of its payment.
pub(crate) fn ids(order: &Order) -> (OrderId, PaymentId) {
    let order_id = order.order_id.parse().unwrap();
    (order_id, PaymentId::of(order_id))
}

/// The same request under an idempotency key.
pub(crate) fn keyed<T>(key: &str, request: T) -> Request<T> {
    let mut request = Request::new(request);
    request
        .metadata_mut()
        .insert("idempotency-key", key.parse().unwrap());
    request
}

pub(crate) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

pub(crate) fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = details
        .bad_request()
        .map(|bad_request| bad_request.field_violations.iter());
    violations
        .into_iter()
        .flatten()
        .map(|violation| violation.field.clone())
        .collect()
}
