use quadrille_process::{Failure, Process};
use saga_runtime::{Documents, Service, ServiceConfig};
use sqlx::migrate::Migrator;

use super::Cars;

static MIGRATOR: Migrator = sqlx::migrate!("migrations/car");

/// Rents cars until it is told to stop.
///
/// # Errors
/// If it cannot start, or a part of it ends by itself.
pub async fn run(config: ServiceConfig, process: Process) -> Result<(), Failure> {
    let mut service = Service::connect(config, &MIGRATOR, &process)
        .await
        .map_err(Failure::unavailable)?;
    service
        .participant(Cars::default(), Documents::new("rental"))
        .start();
    Ok(service.run().await?)
}
