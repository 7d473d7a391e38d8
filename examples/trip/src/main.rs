//! `trip desk|hotel|car|flight|airline`: one of the processes. `trip up`: all of them. `trip demo`: all of them, and three trips.

use std::process::ExitCode;

use quadrille_process::{About, run_with};
use saga_runtime::ServiceConfig;
use saga_runtime::replay::if_asked_with;
use trip::local::Local;
use trip::{Cars, Desk, Flights, Hotels, airline, car, desk, flight, hotel};

/// Three trips, told.
mod demo;

const USAGE: &str = "\
usage: trip up                     all processes, until Ctrl-C
       trip demo                   all processes, and three trips
       trip desk|hotel|car|flight|airline [--help]
       trip desk|hotel|car|flight replay FILE…";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let rest = || rest.clone().into_iter();
    let replayed = match verb.as_str() {
        "desk" => if_asked_with(rest(), &Desk::default()),
        "hotel" => if_asked_with(rest(), &Hotels),
        "car" => if_asked_with(rest(), &Cars::default()),
        "flight" => if_asked_with(rest(), &Flights),
        _ => None,
    };
    if let Some(code) = replayed {
        return code;
    }
    match verb.as_str() {
        "desk" => run_with(
            about("trip-desk", "DESK"),
            rest(),
            desk::service::read,
            desk::service::run,
        ),
        "hotel" => run_with(
            about("trip-hotel", "HOTEL"),
            rest(),
            hotel::service::read,
            hotel::service::run,
        ),
        "car" => run_with(
            about("trip-car", "CAR"),
            rest(),
            ServiceConfig::from_env,
            car::service::run,
        ),
        "flight" => run_with(
            about("trip-flight", "FLIGHT"),
            rest(),
            flight::service::read,
            flight::service::run,
        ),
        "airline" => run_with(about("airline", "AIRLINE"), rest(), airline::read, airline::serve),
        "up" => here(false),
        "demo" => here(true),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(64)
        }
    }
}

fn about(name: &'static str, prefix: &'static str) -> About {
    About {
        name,
        prefix,
        version: env!("CARGO_PKG_VERSION"),
        summary: env!("CARGO_PKG_DESCRIPTION"),
    }
}

#[tokio::main]
async fn here(demo: bool) -> ExitCode {
    quadrille_process::tls::install_crypto();
    match all(demo).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trip: {error:#}");
            ExitCode::from(70)
        }
    }
}

async fn all(demo: bool) -> anyhow::Result<()> {
    let mut local = Local::start().await?;
    println!("desk     {}trips/ID", local.desk);
    println!("hotels   {}hotels/NAME", local.hotel);
    println!("airline  {}tickets", local.airline);
    println!("logs     {}\n", local.logs.display());
    let result = if demo {
        demo::play(&local).await
    } else {
        println!("Ctrl-C ends it");
        tokio::select! {
            ended = local.until_one_ends() => ended,
            stopped = tokio::signal::ctrl_c() => Ok(stopped?),
        }
    };
    local.stop().await?;
    result
}
