use std::net::SocketAddr;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::put;
use axum::{Json, Router};
use quadrille_process::config::Env;
use quadrille_process::{Failure, Process};
use saga_core::Money;
use saga_runtime::{Commands, Documents, Idempotency, Service, ServiceConfig};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::migrate::Migrator;

use super::{Hotels, House, In, Open};
use crate::http;

static MIGRATOR: Migrator = sqlx::migrate!("migrations/hotel");

/// What it is told by its environment.
#[derive(Clone, Debug)]
pub struct Config {
    service: ServiceConfig,
    listen: SocketAddr,
}

/// Reads it; `None` if a problem was noted.
pub fn read(env: &mut Env) -> Option<Config> {
    let service = ServiceConfig::from_env(env);
    let listen = env.required("LISTEN", "address:port of the hotels' API");
    Some(Config {
        service: service?,
        listen: listen?,
    })
}

/// Lets rooms until it is told to stop.
///
/// # Errors
/// If it cannot start, or a part of it ends by itself.
pub async fn run(config: Config, process: Process) -> Result<(), Failure> {
    let mut service = Service::connect(config.service, &MIGRATOR, &process)
        .await
        .map_err(Failure::unavailable)?;
    let hotels = service.participant(Hotels, store()).start();
    let door = Door {
        commands: hotels.commands,
        pool: service.pool().clone(),
    };
    let router = Router::new().route("/hotels/{name}", put(open).get(show));
    service.task(http::serve(config.listen, router.with_state(door), &process).await?);
    Ok(service.run().await?)
}

fn store() -> Documents<Hotels> {
    Documents::new("stay").shared("house")
}

#[derive(Clone)]
struct Door {
    commands: Commands<Hotels>,
    pool: PgPool,
}

/// A hotel that is about to open.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct NewHotel {
    /// All of them.
    pub rooms: u32,
    /// Of a night.
    pub price: Money,
    /// Of giving a room back.
    pub fee: Money,
}

async fn open(
    State(door): State<Door>,
    Path(hotel): Path<String>,
    Json(NewHotel { rooms, price, fee }): Json<NewHotel>,
) -> http::Answer<House> {
    let id = Idempotency {
        owner: String::new(),
        method: "open".to_owned(),
        key: hotel.clone(),
        fingerprint: format!("{rooms} {price} {fee}").into_bytes(),
    };
    let open = In::Open(Open::new(hotel, rooms, price, fee));
    let answer = door.commands.submit(id, None, open, None).await;
    answer.map(|answer| Json(answer.reply)).map_err(http::refused)
}

async fn show(State(door): State<Door>, Path(hotel): Path<String>) -> http::Answer<House> {
    let house = store()
        .find_shared(&door.pool, &hotel)
        .await
        .map_err(http::failed)?;
    house.map(Json).ok_or_else(|| {
        let problem = format!("there is no hotel {hotel}");
        (StatusCode::NOT_FOUND, problem)
    })
}
