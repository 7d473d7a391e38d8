use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use payment::participant::In;
use payment::store::MIGRATOR;
use payment::{Config, Running};
use payment_sandbox::Sandbox;
use quadrille_contracts::order::{self, CancelReason, PaymentMethod};
use quadrille_contracts::{OrderId, PaymentId, stock};
use quadrille_process::config::Secret;
use quadrille_process::{Failure, Health};
use quadrille_proto::payment::v1::payment_service_client::PaymentServiceClient;
use quadrille_proto::payment::v1::{GetPaymentRequest, Payment, PaymentStatus};
use reqwest::{Client, Method};
use saga_core::{Currency, Money};
use serde_json::{Value, json};
use service_testing::{PATIENCE, World, until, within};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const API_KEY: &str = "sk_test_quadrille";

/// Impatient, so that tests need not be patient.
const IMPATIENT: &[(&str, &str)] = &[
    ("CHARGE_ATTEMPTS", "3"),
    ("CHARGE_RETRY_INITIAL_MS", "20"),
    ("QUERY_RETRY_INITIAL_MS", "20"),
    ("QUERY_RETRY_MAX_MS", "100"),
    ("REFUND_ATTEMPTS", "3"),
    ("REFUND_RETRY_INITIAL_MS", "20"),
    ("PROVIDER_CALL_TIMEOUT_MS", "5000"),
];

/// A world with payment and the provider at work in it.
pub(crate) struct Till {
    world: World,
    pub(crate) api: PaymentServiceClient<Channel>,
    pub(crate) webhook: String,
    pub(crate) client: Client,
    provider: SocketAddr,
    /// A test that fails ends everything as well.
    stop: DropGuard,
    provider_stop: DropGuard,
    ended: JoinHandle<Result<(), Failure>>,
}

impl Till {
    pub(crate) async fn open() -> Result<Self> {
        Self::open_with(&[], Duration::from_millis(200)).await
    }

    /// With settings of its own, and with so long a time for `tok_slow`.
    pub(crate) async fn open_with(own: &[(&str, &str)], slow: Duration) -> Result<Self> {
        let world = World::new("payment", &MIGRATOR, &saga_core::input::topics::<In>()).await?;
        let (door, postman) = forward().await?;
        let provider_stop = CancellationToken::new();
        let sandbox = sandbox(&world, postman, slow, &provider_stop).await?;
        let provider = sandbox.address();

        let url = format!("http://{provider}");
        let mut settings = vec![
            ("PROVIDER_URL", url.as_str()),
            ("PROVIDER_KEY", API_KEY),
            ("WEBHOOK_LISTEN", "127.0.0.1:0"),
            ("WEBHOOK_SECRET", SECRET),
        ];
        settings.extend_from_slice(IMPATIENT);
        settings.extend_from_slice(own);
        let process = world.process()?;
        let config = world.env(&settings).build(Config::read)?;
        let running = Running::start(config, &process).await.map_err(failed)?;
        let webhook = format!("http://{}{}", running.webhook, payment::webhook::PATH);
        door.set(webhook.clone()).ok().context("the door is set once")?;
        let channel = Endpoint::from_shared(format!("http://{}", running.grpc))?.timeout(PATIENCE);
        Ok(Self {
            api: PaymentServiceClient::new(channel.connect().await?),
            world,
            webhook,
            client: Client::new(),
            provider,
            stop: process.shutdown.drop_guard(),
            provider_stop: provider_stop.drop_guard(),
            ended: tokio::spawn(running.ended()),
        })
    }

    /// Nothing may be left behind that somebody would have to look at.
    pub(crate) async fn close(self) -> Result<()> {
        let parked: Vec<(String, String)> = sqlx::query_as("select key, reason from saga.parked_key")
            .fetch_all(&self.pool)
            .await?;
        ensure!(parked.is_empty(), "parked: {parked:?}");
        drop(self.stop);
        within("the service stops", self.ended).await??.map_err(failed)?;
        drop(self.provider_stop);
        Ok(())
    }

    /// An order whose stock is held.
    pub(crate) async fn order(&self, method: PaymentMethod) -> Result<OrderId> {
        let order_id = OrderId(Uuid::new_v4());
        self.send(&created(order_id, method)).await?;
        self.send(&reserved(order_id)).await?;
        Ok(order_id)
    }

    pub(crate) async fn card(&self, token: &str) -> Result<OrderId> {
        let token = token.to_owned();
        self.order(PaymentMethod::Card { token }).await
    }

    /// An order with an open page, and the page's address.
    pub(crate) async fn page(&self) -> Result<(OrderId, String)> {
        let order_id = self.order(PaymentMethod::HostedPage).await?;
        let published = self.until_published(order_id, &["payment.created"]).await?;
        let url = published[0]["page_url"].as_str().context("an address")?;
        Ok((order_id, url.to_owned()))
    }

    pub(crate) async fn cancel(&self, order_id: OrderId) -> Result<()> {
        self.send(&order::Cancelled {
            order_id,
            reason: CancelReason::Customer,
        })
        .await
    }

    /// What the customer does on the page: `pay` or `decline`. Says with which status it was answered.
    pub(crate) async fn on_page(&self, url: &str, what: &str) -> Result<u16> {
        let answer = self.client.post(format!("{url}/{what}")).send().await?;
        Ok(answer.status().as_u16())
    }

    pub(crate) async fn show(&self, order_id: OrderId) -> Result<Payment, Status> {
        let order_id = order_id.to_string();
        let answer = self
            .api
            .clone()
            .get_payment(GetPaymentRequest { order_id })
            .await?;
        Ok(answer.into_inner().payment.expect("a payment"))
    }

    pub(crate) async fn until_status(&self, order_id: OrderId, wanted: PaymentStatus) -> Result<Payment> {
        until(&format!("{order_id} is {wanted:?}"), || async {
            Ok(matches!(self.show(order_id).await, Ok(payment) if payment.status() == wanted))
        })
        .await?;
        Ok(self.show(order_id).await?)
    }

    /// The provider's merchant API: status and body.
    pub(crate) async fn provider(&self, method: Method, path: &str, body: Value) -> Result<(u16, Value)> {
        self.provider_once(method, path, "", body).await
    }

    pub(crate) async fn provider_once(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: Value,
    ) -> Result<(u16, Value)> {
        let mut request = self
            .client
            .request(method, format!("http://{}/v1/{path}", self.provider))
            .bearer_auth(API_KEY)
            .json(&body);
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await.unwrap_or_default()))
    }

    /// Captured, refunded, and how many charges that took; in the currency of the orders.
    pub(crate) async fn books(&self, order_id: OrderId) -> Result<[i64; 3]> {
        let path = format!("books?reference={}", PaymentId::of(order_id));
        let (_, books) = self.provider(Method::GET, &path, Value::Null).await?;
        let entries = books["entries"].as_array().context("entries")?;
        let Some(entry) = entries.iter().find(|entry| entry["currency"] == "EUR") else {
            return Ok([0; 3]);
        };
        Ok(["captured_minor", "refunded_minor", "charges"].map(|name| entry[name].as_i64().unwrap_or(-1)))
    }

    pub(crate) async fn fault(&self, fault: Value) -> Result<()> {
        let (status, body) = self.provider(Method::POST, "test/faults", fault).await?;
        ensure!(status == 201, "{body}");
        Ok(())
    }

    pub(crate) async fn hold_webhooks(&self, held: bool) -> Result<()> {
        self.provider(Method::POST, "test/webhooks", json!({ "held": held }))
            .await?;
        Ok(())
    }
}

impl Deref for Till {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

async fn sandbox(
    world: &World,
    postman: SocketAddr,
    slow: Duration,
    stop: &CancellationToken,
) -> Result<Sandbox> {
    let database = world.neighbour("sandbox").await?;
    let config = payment_sandbox::Config {
        listen: "127.0.0.1:0".parse()?,
        public_url: None,
        api_key: Secret::new(API_KEY.to_owned()),
        database_url: Secret::new(database.url("")),
        migrate_database_url: Some(Secret::new(database.url("_migrate"))),
        pool_max: 4,
        webhook_url: format!("http://{postman}/"),
        webhook_secret: SECRET.parse()?,
        webhook_retry: Duration::from_millis(50),
        webhook_attempts_max: 1000,
        slow,
    };
    Ok(Sandbox::start(config, Health::new(), stop.clone()).await?)
}

/// Stands between the provider, who has to know at once where to send webhooks to, and payment, whose port
/// is known only when it runs.
async fn forward() -> Result<(Arc<OnceLock<String>>, SocketAddr)> {
    let door = Arc::<OnceLock<String>>::default();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/", post(pass_on))
        .with_state((Client::new(), Arc::clone(&door)));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((door, address))
}

async fn pass_on(
    State((client, door)): State<(Client, Arc<OnceLock<String>>)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Some(url) = door.get() else {
        return StatusCode::SERVICE_UNAVAILABLE;
    };
    let mut request = client.post(url).body(body);
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    match request.send().await {
        Ok(answer) => answer.status(),
        Err(_) => StatusCode::BAD_GATEWAY,
    }
}

fn failed(failure: Failure) -> anyhow::Error {
    anyhow::anyhow!("{failure}")
}

pub(crate) fn price() -> Money {
    Money::new(1999, Currency::EUR)
}

pub(crate) fn created(order_id: OrderId, payment_method: PaymentMethod) -> order::Created {
    order::Created {
        order_id,
        owner: "ann".into(),
        lines: vec![],
        total: price(),
        payment_method,
    }
}

pub(crate) fn reserved(order_id: OrderId) -> stock::Reserved {
    stock::Reserved {
        order_id,
        lines: vec![],
    }
}
