use std::net::SocketAddr;
use std::sync::Arc;

use quadrille_process::{Failure, Process};
use quadrille_proto::order::v1::order_service_server::{OrderServiceServer, SERVICE_NAME};
use saga_runtime::grpc::{HEALTH_SERVICE, REQUEST_MAX_BYTES, Server};
use saga_runtime::{Handle, Service};

use crate::config::Config;
use crate::grpc::Api;
use crate::in_flight;
use crate::participant::Orders;
use crate::store::{MIGRATOR, Tables};
use crate::watch::Watchers;

/// The service, at work. It ends when the process is told to stop.
#[derive(Debug)]
pub struct Running {
    /// Where its gRPC server listens.
    pub grpc: SocketAddr,
    /// Its participant.
    pub orders: Handle<Orders>,
    service: Service,
}

impl Running {
    /// Connects, takes the port and begins to work.
    ///
    /// # Errors
    /// If the database or the port is not to be had.
    pub async fn start(config: Config, process: &Process) -> Result<Self, Failure> {
        let mut service = Service::connect(config.service, &MIGRATOR, process)
            .await
            .map_err(Failure::unavailable)?;
        let server = Server::bind(&config.grpc).await.map_err(Failure::unavailable)?;
        let policy = config.orders;
        let orders = service.participant(policy, Tables).start();
        let pool = service.pool().clone();
        let watchers = Watchers::new(config.watchers_max, process.shutdown.clone());
        service.task(Arc::clone(&watchers).serve(pool.clone(), orders.changes()));
        service.task(in_flight::count(pool.clone(), process.shutdown.clone()));
        let api = OrderServiceServer::new(Api {
            commands: orders.commands.clone(),
            pool,
            watchers,
            policy,
        });
        let (v1, v1alpha) = quadrille_proto::reflection(&[SERVICE_NAME, HEALTH_SERVICE])?;
        let server = server
            .add_service(api.max_decoding_message_size(REQUEST_MAX_BYTES))
            .add_service(v1)
            .add_service(v1alpha);
        let grpc = server.address();
        service.task(server.serve(process));
        Ok(Self {
            grpc,
            orders,
            service,
        })
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
