use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quadrille_process::config::Env;
use quadrille_process::{Health, Process};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::server::TcpIncoming;
use tower::Layer;

use super::{call, health};
use crate::service;

/// A request's size at most. Give it to each generated server with `max_decoding_message_size`.
pub const REQUEST_MAX_BYTES: usize = 1 << 20;

/// Full name of the health service, for reflection.
pub const HEALTH_SERVICE: &str = "grpc.health.v1.Health";

/// How a gRPC server listens, and how much it takes.
#[derive(Clone, Copy, Debug)]
pub struct GrpcConfig {
    /// Where.
    pub listen: SocketAddr,
    /// Calls at the same time, over all connections. The next one is told to come back.
    pub calls_max: usize,
    /// How long a call may take whose caller set no deadline, or a later one.
    pub call_timeout: Duration,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be used.
    #[error("cannot listen on {listen} for gRPC")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The server ended by itself.
    #[error("the gRPC server failed")]
    Serve(#[source] tonic::transport::Error),
}

/// A gRPC server that has its port and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    config: GrpcConfig,
    routes: RoutesBuilder,
    names: Vec<&'static str>,
}

impl GrpcConfig {
    /// Reads `GRPC_LISTEN` and the limits.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        let listen = env.required("GRPC_LISTEN", "address:port of the gRPC server");
        let calls_max = env.bounded("GRPC_CALLS_MAX", 4096, 1..=1_000_000);
        let call_timeout = env.duration_ms("GRPC_CALL_TIMEOUT_MS", Duration::from_secs(30));
        Some(Self {
            listen: listen?,
            calls_max,
            call_timeout,
        })
    }
}

impl Server {
    /// Takes the port.
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub async fn bind(config: &GrpcConfig) -> Result<Self, Error> {
        let listen = config.listen;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|source| Error::Listen { listen, source })?;
        let address = listener
            .local_addr()
            .map_err(|source| Error::Listen { listen, source })?;
        Ok(Self {
            listener,
            address,
            config: *config,
            routes: Routes::builder(),
            names: Vec::new(),
        })
    }

    /// Where it listens: of use if the port was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a generated server. Its health is asked for under its full name.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
        self.names.push(S::NAME);
        self
    }

    /// Answers until the process is told to stop, then finishes what it has, for half of the process's grace
    /// at most: a client that holds a stream open does not hold up the shutdown.
    pub fn serve(
        self,
        process: &Process,
    ) -> impl Future<Output = Result<(), service::Error>> + Send + 'static {
        let traces = process.telemetry.has_traces();
        let (health, stop, grace) = (
            process.health.clone(),
            process.shutdown.clone(),
            process.grace / 2,
        );
        async move {
            self.serve_until(health, traces, stop, grace)
                .await
                .map_err(service::Error::from)
        }
    }

    pub(super) async fn serve_until(
        mut self,
        process: Health,
        traces: bool,
        stop: CancellationToken,
        grace: Duration,
    ) -> Result<(), Error> {
        let (reporter, health) = tonic_health::server::health_reporter();
        self.routes.add_service(health);
        let calls = call::CallLayer {
            free: Arc::new(Semaphore::new(self.config.calls_max)),
            timeout: self.config.call_timeout,
            traces,
        };
        let report = tokio::spawn(health::report(reporter, self.names, process, stop.clone()));
        tracing::info!(address = %self.address, "gRPC port is open");
        let server = tonic::transport::Server::builder()
            // A peer that is gone without a word is found out within a minute.
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(15)))
            // Per connection; what is beyond waits in its client.
            .max_concurrent_streams(1024)
            .serve_with_incoming_shutdown(
                calls.layer(self.routes.routes()),
                // Answers are small, and somebody waits for each.
                TcpIncoming::from(self.listener).with_nodelay(Some(true)),
                stop.clone().cancelled_owned(),
            );
        let result = tokio::select! {
            result = server => result.map_err(Error::Serve),
            () = async { stop.cancelled().await; tokio::time::sleep(grace).await } => {
                tracing::warn!(grace_ms = grace.as_millis(), "gRPC connections are still open; they are cut");
                Ok(())
            }
        };
        report.abort();
        result
    }
}
