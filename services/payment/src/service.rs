use std::net::SocketAddr;

use quadrille_process::{Failure, Process};
use quadrille_proto::payment::v1::payment_service_server::{PaymentServiceServer, SERVICE_NAME};
use saga_runtime::grpc::{HEALTH_SERVICE, REQUEST_MAX_BYTES, Server};
use saga_runtime::{Handle, Service};

use crate::config::Config;
use crate::grpc::Api;
use crate::participant::Payments;
use crate::participant::effects::{Charge, Close, OpenPage, QueryCharge, QueryPage, Refund};
use crate::provider::Provider;
use crate::store::{MIGRATOR, Tables};
use crate::webhook::Webhooks;

/// The service, at work. It ends when the process is told to stop.
#[derive(Debug)]
pub struct Running {
    /// Where its gRPC server listens.
    pub grpc: SocketAddr,
    /// Where it takes webhooks.
    pub webhook: SocketAddr,
    /// Its participant.
    pub payments: Handle<Payments>,
    service: Service,
}

impl Running {
    /// Connects, takes the ports and begins to work.
    ///
    /// # Errors
    /// If the database or a port is not to be had.
    pub async fn start(config: Config, process: &Process) -> Result<Self, Failure> {
        let provider = Provider::new(&config.provider, config.service.effects.concurrency)?;
        let mut service = Service::connect(config.service, &MIGRATOR, process)
            .await
            .map_err(Failure::unavailable)?;
        let server = Server::bind(&config.grpc).await.map_err(Failure::unavailable)?;
        let policies = config.policies;
        let payments = service
            .participant(config.payments, Tables)
            .effect_with::<Charge>(provider.clone(), policies.charge)
            .effect_with::<OpenPage>(provider.clone(), policies.charge)
            .effect_with::<QueryCharge>(provider.clone(), policies.query)
            .effect_with::<QueryPage>(provider.clone(), policies.query)
            .effect_with::<Close>(provider.clone(), policies.query)
            .effect_with::<Refund>(provider, policies.refund)
            .start();
        let webhooks = Webhooks::bind(config.webhook, payments.commands.clone(), service.pool().clone())
            .await
            .map_err(Failure::unavailable)?;
        let api = PaymentServiceServer::new(Api {
            pool: service.pool().clone(),
        });
        let (v1, v1alpha) = quadrille_proto::reflection(&[SERVICE_NAME, HEALTH_SERVICE])?;
        let server = server
            .add_service(api.max_decoding_message_size(REQUEST_MAX_BYTES))
            .add_service(v1)
            .add_service(v1alpha);
        let (grpc, webhook) = (server.address(), webhooks.address());
        service.task(server.serve(process));
        let (stop, grace) = (process.shutdown.clone(), process.grace / 2);
        service.task(async move {
            webhooks.serve(stop, grace).await;
            Ok(())
        });
        Ok(Self {
            grpc,
            webhook,
            payments,
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
