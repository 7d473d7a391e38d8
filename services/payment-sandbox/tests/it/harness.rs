use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use payment_sandbox::{Config, Sandbox};
use quadrille_process::Health;
use quadrille_process::config::Secret;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::net::TcpListener;
use tokio::sync::{OnceCell, mpsc};
use tokio_util::sync::CancellationToken;

pub(crate) const API_KEY: &str = "sk_test_quadrille";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PASSWORD: &str = "books";

/// A database of its own, with the roles of a real installation, and nothing in it.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) worker_url: String,
    pub(crate) migrate_url: String,
}

impl Database {
    pub(crate) async fn create() -> Database {
        static ADMIN: OnceCell<String> = OnceCell::const_new();
        let admin_url = ADMIN
            .get_or_init(|| async {
                quadrille_process::tls::install_crypto();
                let shared = tokio::task::spawn_blocking(local_stack::TestStack::shared)
                    .await
                    .unwrap();
                let url = shared.unwrap().postgres_admin_url.clone();
                let mut admin = PgConnection::connect(&url).await.unwrap();
                for role in ["sandbox", "sandbox_migrate"] {
                    // The cluster may be shared with tests of other crates that make the same roles.
                    let create = format!(
                        "do $$ begin create role {role}; exception
                             when duplicate_object or unique_violation then null; end $$;
                         alter role {role} login password '{PASSWORD}'"
                    );
                    sqlx::raw_sql(sqlx::AssertSqlSafe(create))
                        .execute(&mut admin)
                        .await
                        .unwrap();
                }
                url
            })
            .await;
        let name = format!("sandbox_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(admin_url).await.unwrap();
        let create = format!("create database {name} owner sandbox_migrate");
        sqlx::raw_sql(sqlx::AssertSqlSafe(create))
            .execute(&mut admin)
            .await
            .unwrap();
        let host = admin_url.rsplit_once('@').unwrap().1.split('/').next().unwrap();
        let url = |role: &str| format!("postgres://{role}:{PASSWORD}@{host}/{name}");
        Database {
            worker_url: url("sandbox"),
            migrate_url: url("sandbox_migrate"),
        }
    }
}

/// A sandbox, and what it takes to start it again.
pub(crate) struct Bank {
    pub(crate) config: Config,
    pub(crate) merchant: Merchant,
    client: Client,
    address: SocketAddr,
    sandbox: Option<Sandbox>,
    stop: CancellationToken,
}

impl Bank {
    pub(crate) async fn open() -> Bank {
        let database = Database::create().await;
        let merchant = Merchant::start().await;
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            public_url: None,
            api_key: Secret::new(API_KEY.to_owned()),
            database_url: Secret::new(database.worker_url),
            migrate_database_url: Some(Secret::new(database.migrate_url)),
            pool_max: 4,
            webhook_url: format!("http://{}/webhooks", merchant.address),
            webhook_secret: WEBHOOK_SECRET.parse().unwrap(),
            webhook_retry: Duration::from_millis(20),
            webhook_attempts_max: 5,
            slow: Duration::from_millis(300),
        };
        let (sandbox, stop) = start(&config).await;
        let client = Client::builder()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Bank {
            address: sandbox.address(),
            sandbox: Some(sandbox),
            config,
            merchant,
            client,
            stop,
        }
    }

    /// Stops it as SIGTERM does, and starts it on the same books.
    pub(crate) async fn restart(&mut self) {
        self.stop.cancel();
        self.sandbox.take().unwrap().stopped().await;
        let (sandbox, stop) = start(&self.config).await;
        self.address = sandbox.address();
        self.sandbox = Some(sandbox);
        self.stop = stop;
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path)).bearer_auth(API_KEY)
    }

    pub(crate) fn post(&self, path: &str, key: &str, body: &Value) -> RequestBuilder {
        let request = self.client.post(self.url(path)).bearer_auth(API_KEY).json(body);
        if key.is_empty() {
            request
        } else {
            request.header("idempotency-key", key)
        }
    }

    pub(crate) fn delete(&self, path: &str) -> RequestBuilder {
        self.client.delete(self.url(path)).bearer_auth(API_KEY)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn charge(&self, key: &str, reference: &str, token: &str) -> Answer {
        answer(self.post("/v1/charges", key, &charge(reference, token))).await
    }

    pub(crate) async fn find(&self, what: &str, reference: &str) -> Answer {
        answer(self.get(&format!("/v1/{what}?reference={reference}"))).await
    }

    pub(crate) async fn books(&self, reference: &str) -> Value {
        let answer = self.find("books", reference).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["entries"][0].clone()
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn start(config: &Config) -> (Sandbox, CancellationToken) {
    let stop = CancellationToken::new();
    let sandbox = Sandbox::start(config.clone(), Health::new(), stop.clone())
        .await
        .unwrap();
    (sandbox, stop)
}

pub(crate) fn charge(reference: &str, token: &str) -> Value {
    json!({ "reference": reference, "amount_minor": 1999, "currency": "EUR", "token": token })
}

/// What came back, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) replayed: bool,
    pub(crate) body: Value,
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let replayed = response.headers().contains_key("idempotent-replayed");
    let status = response.status().as_u16();
    let kind = response
        .headers()
        .get("content-type")
        .map(|kind| kind.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    if status >= 400 && !text.contains("\"url\"") {
        assert_eq!(
            kind.as_deref(),
            Some("application/problem+json"),
            "{status} {text}"
        );
    }
    Answer {
        status,
        replayed,
        body: serde_json::from_str(&text).unwrap_or(Value::Null),
    }
}

/// A webhook as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// The other side of the webhooks. Takes each, unless it was told what to answer next.
pub(crate) struct Merchant {
    pub(crate) address: SocketAddr,
    pub(crate) received: mpsc::UnboundedReceiver<Received>,
    answers: Arc<Mutex<VecDeque<StatusCode>>>,
}

type Inbox = (mpsc::UnboundedSender<Received>, Arc<Mutex<VecDeque<StatusCode>>>);

impl Merchant {
    async fn start() -> Merchant {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        let answers = Arc::<Mutex<VecDeque<StatusCode>>>::default();
        let router = Router::new()
            .route("/webhooks", post(take))
            .with_state((sender, Arc::clone(&answers)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Merchant {
            address,
            received,
            answers,
        }
    }

    pub(crate) fn will_answer(&self, statuses: &[u16]) {
        let statuses = statuses
            .iter()
            .map(|status| StatusCode::from_u16(*status).unwrap());
        self.answers.lock().unwrap().extend(statuses);
    }

    pub(crate) async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(Duration::from_secs(30), self.received.recv());
        next.await.expect("no webhook came").unwrap()
    }
}

async fn take(State((sender, answers)): State<Inbox>, headers: HeaderMap, body: Bytes) -> StatusCode {
    sender.send(Received { headers, body }).ok();
    answers
        .lock()
        .unwrap()
        .pop_front()
        .unwrap_or(StatusCode::NO_CONTENT)
}

/// Asks again until it holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}
