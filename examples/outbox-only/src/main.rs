//! Takes orders, and tells the world about each of them if and only if it was stored.

use anyhow::Context as _;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use outbox_relay::{Handle, Options, Relay};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[derive(Clone)]
struct Shop {
    pool: PgPool,
    relay: Handle,
}

#[derive(serde::Deserialize)]
struct PlaceOrder {
    customer: String,
    total_minor: i64,
}

const ORDERS: &str = "create table if not exists orders (
    id uuid primary key, customer text not null, total_minor bigint not null check (total_minor > 0))";

// The first five columns are what Debezium's outbox router knows: id, topic, key, type, payload.
const TELL: &str = r#"
insert into saga.outbox (id, aggregatetype, aggregateid, type, payload, headers)
values (gen_random_uuid(), 'order-events', $1, 'order.placed', $2, '{"content-type": "application/json"}')"#;

async fn place(
    State(shop): State<Shop>,
    Json(order): Json<PlaceOrder>,
) -> Result<(StatusCode, Json<Value>), (StatusCode, String)> {
    // On a task of its own: if its caller hangs up while the transaction begins, sqlx hands the connection on with it open.
    let stored = tokio::spawn(store(shop.pool, order)).await;
    let placed = stored.map_err(|panic| (StatusCode::INTERNAL_SERVER_ERROR, panic.to_string()))?;
    let placed = placed.map_err(|error| (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    // A hint that spares the relay its polling interval. Nothing is lost if nobody rings.
    shop.relay.ring();
    Ok((StatusCode::CREATED, Json(placed)))
}

/// The order and its event commit together, or neither does.
async fn store(pool: PgPool, order: PlaceOrder) -> Result<Value, sqlx::Error> {
    let id = Uuid::new_v4();
    let placed = json!({ "id": id, "customer": order.customer, "total_minor": order.total_minor });
    let mut transaction = pool.begin().await?;
    sqlx::query("insert into orders (id, customer, total_minor) values ($1, $2, $3)")
        .bind(id)
        .bind(order.customer)
        .bind(order.total_minor)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(TELL)
        .bind(id.to_string())
        .bind(placed.to_string().into_bytes())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(placed)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let env = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let (url, brokers, listen) = (env("DATABASE_URL")?, env("KAFKA_BROKERS")?, env("LISTEN")?);
    let pool = PgPool::connect(&url).await.context("DATABASE_URL")?;
    outbox_relay::migrate::outbox(&pool).await?;
    sqlx::query(ORDERS).execute(&pool).await?;

    // Inside the service; `outbox-relay run` does the same in a process of its own.
    let kafka = vec![("bootstrap.servers".to_owned(), brokers)];
    let relay = Relay::new(Options::new("orders".parse()?, url.parse()?, kafka));
    let (handle, stop) = (relay.handle(), CancellationToken::new());
    let relaying = tokio::spawn(relay.run(stop.clone()));

    let shop = Shop { pool, relay: handle };
    let router = Router::new().route("/orders", post(place)).with_state(shop);
    let listener = tokio::net::TcpListener::bind(&listen).await.context(listen)?;
    println!("listening on {}", listener.local_addr()?);
    let ended = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, router)
        .with_graceful_shutdown(ended)
        .await?;
    // Gives the lease back, so that the next process need not wait for it to run out.
    stop.cancel();
    relaying.await?;
    Ok(())
}
