//! The gRPC shell: one server for every service, so that all of them behave alike under load, at a deadline,
//! in a panic and at shutdown.
//!
//! ```no_run
//! # use quadrille_process::Process;
//! # use saga_runtime::{Service, grpc};
//! # async fn start(config: grpc::GrpcConfig, service: &mut Service, process: &Process) -> Result<(), grpc::Error> {
//! let server = grpc::Server::bind(&config).await?;
//! // … add the service's own servers and reflection …
//! service.task(server.serve(process));
//! # Ok(())
//! # }
//! ```
//!
//! A handler checks its request with [`Violations`](crate::grpc::Violations), makes an [`Idempotency`](crate::Idempotency) with
//! [`idempotency`](crate::grpc::idempotency), submits with [`timeout`](crate::grpc::timeout), and answers errors with
//! [`of_command`](crate::grpc::of_command) and [`of_database`](crate::grpc::of_database).

/// What every call goes through: limit, deadline, span, panic, metrics.
mod call;
/// The health service, as the process's own health.
mod health;
/// What stands in a call's metadata.
mod metadata;
/// Page sizes and page tokens.
mod page;
/// The server, from its port to its last answer.
mod server;
/// Errors as google.rpc has them.
mod status;
/// Instants as messages.
mod time;
/// Everything that is wrong with a request, at once.
mod violations;

#[cfg(test)]
mod tests;

pub use metadata::{idempotency, timeout};
pub use page::{PageToken, page_size};
pub use server::{Error, GrpcConfig, HEALTH_SERVICE, REQUEST_MAX_BYTES, Server};
pub use status::{failure, later, of_command, of_database, overloaded, stopping};
pub use time::timestamp;
pub use violations::Violations;
