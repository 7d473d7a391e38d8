use quadrille_process::{Failure, Process};
use saga_runtime::{Handle, Service};

use crate::config::Config;
use crate::participant::Newcomer;
use crate::store::{MIGRATOR, Tables};

/// The service, at work. It ends when the process is told to stop.
#[derive(Debug)]
pub struct Running {
    /// Its participant: for an API that takes commands.
    pub newcomer: Handle<Newcomer>,
    service: Service,
}

impl Running {
    /// Connects and begins to work.
    ///
    /// # Errors
    /// If the database is not to be had, or is not that of this build.
    pub async fn start(config: Config, process: &Process) -> Result<Self, Failure> {
        let mut service = Service::connect(config.service, &MIGRATOR, process)
            .await
            .map_err(Failure::unavailable)?;
        // Effects are added here: .effect(…)
        let newcomer = service.participant(config.policy, Tables).start();
        Ok(Self { newcomer, service })
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// If it ended without being told to.
    pub async fn ended(self) -> Result<(), Failure> {
        Ok(self.service.run().await?)
    }
}

/// The work of the process: serves until it is told to stop.
///
/// # Errors
/// If it cannot start, or a part of it ends by itself.
pub async fn run_until_stopped(config: Config, process: Process) -> Result<(), Failure> {
    Running::start(config, &process).await?.ended().await
}
