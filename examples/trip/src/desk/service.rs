use std::net::SocketAddr;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::put;
use axum::{Json, Router};
use quadrille_process::config::Env;
use quadrille_process::{Failure, Process};
use saga_runtime::{Commands, Documents, Idempotency, Service, ServiceConfig};
use sqlx::PgPool;
use sqlx::migrate::Migrator;

use super::{Booking, Desk, In, Trip};
use crate::contracts::{Plan, TripId};
use crate::http;

static MIGRATOR: Migrator = sqlx::migrate!("migrations/desk");

/// What it is told by its environment.
#[derive(Clone, Debug)]
pub struct Config {
    service: ServiceConfig,
    listen: SocketAddr,
    desk: Desk,
}

/// Reads it; `None` if a problem was noted.
pub fn read(env: &mut Env) -> Option<Config> {
    let service = ServiceConfig::from_env(env);
    let listen = env.required("LISTEN", "address:port of the desk's API");
    let deadline = env.duration_ms("DEADLINE_MS", Desk::default().deadline);
    Some(Config {
        service: service?,
        listen: listen?,
        desk: Desk { deadline },
    })
}

/// Takes trips until it is told to stop.
///
/// # Errors
/// If it cannot start, or a part of it ends by itself.
pub async fn run(config: Config, process: Process) -> Result<(), Failure> {
    let mut service = Service::connect(config.service, &MIGRATOR, &process)
        .await
        .map_err(Failure::unavailable)?;
    let desk = service.participant(config.desk, store()).start();
    let door = Door {
        commands: desk.commands,
        pool: service.pool().clone(),
    };
    let router = Router::new().route("/trips/{trip_id}", put(book).get(show).delete(cancel));
    service.task(http::serve(config.listen, router.with_state(door), &process).await?);
    Ok(service.run().await?)
}

fn store() -> Documents<Desk> {
    Documents::new("trip")
}

#[derive(Clone)]
struct Door {
    commands: Commands<Desk>,
    pool: PgPool,
}

impl Door {
    /// The trip is its own idempotency key: whoever asks again gets the first answer.
    async fn submit(&self, method: &str, trip_id: TripId, what: String, input: In) -> http::Answer<Trip> {
        let id = Idempotency {
            owner: String::new(),
            method: method.to_owned(),
            key: trip_id.to_string(),
            fingerprint: what.into_bytes(),
        };
        let answer = self.commands.submit(id, Some(trip_id), input, None).await;
        answer.map(|answer| Json(answer.reply)).map_err(http::refused)
    }
}

async fn book(
    State(door): State<Door>,
    Path(trip_id): Path<TripId>,
    Json(plan): Json<Plan>,
) -> http::Answer<Trip> {
    let what = format!("{plan:?}");
    door.submit("book", trip_id, what, In::Book(Booking { trip_id, plan }))
        .await
}

async fn cancel(State(door): State<Door>, Path(trip_id): Path<TripId>) -> http::Answer<Trip> {
    door.submit("cancel", trip_id, String::new(), In::Cancel(trip_id))
        .await
}

async fn show(State(door): State<Door>, Path(trip_id): Path<TripId>) -> http::Answer<Trip> {
    let trip = store().find(&door.pool, &trip_id).await.map_err(http::failed)?;
    trip.map(Json).ok_or_else(|| {
        let problem = format!("nobody booked trip {trip_id}");
        (StatusCode::NOT_FOUND, problem)
    })
}
