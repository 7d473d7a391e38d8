use quadrille_process::config::Env;
use quadrille_process::{Failure, Process};
use reqwest::Url;
use saga_core::{Effect as _, RetryPolicy};
use saga_runtime::{Documents, Service, ServiceConfig};
use sqlx::migrate::Migrator;

use super::{Airline, BuyTicket, Flights, Withdraw};

static MIGRATOR: Migrator = sqlx::migrate!("migrations/flight");

/// What it is told by its environment.
#[derive(Clone, Debug)]
pub struct Config {
    service: ServiceConfig,
    airline: Url,
    attempts: u32,
}

/// Reads it; `None` if a problem was noted.
pub fn read(env: &mut Env) -> Option<Config> {
    let service = ServiceConfig::from_env(env);
    let airline = env.required("AIRLINE_URL", "the address of the airline, with a / at its end");
    let attempts = env.bounded("BUY_ATTEMPTS", BuyTicket::POLICY.attempts, 1..=1000);
    Some(Config {
        service: service?,
        airline: airline?,
        attempts,
    })
}

/// Buys tickets until it is told to stop.
///
/// # Errors
/// If it cannot start, or a part of it ends by itself.
pub async fn run(config: Config, process: Process) -> Result<(), Failure> {
    let mut service = Service::connect(config.service, &MIGRATOR, &process)
        .await
        .map_err(Failure::unavailable)?;
    let airline = Airline::at(config.airline);
    let patience = RetryPolicy {
        attempts: config.attempts,
        ..BuyTicket::POLICY
    };
    service
        .participant(Flights, Documents::new("seat"))
        .effect_with::<BuyTicket>(airline.clone(), patience)
        .effect::<Withdraw>(airline)
        .start();
    Ok(service.run().await?)
}
