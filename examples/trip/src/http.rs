//! What the two services with an API of their own share: how they listen, and how they say no.

use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;

use axum::http::StatusCode;
use axum::{Json, Router};
use quadrille_process::{Failure, Process};
use saga_runtime::command::CommandError;
use saga_runtime::service::Error;

/// JSON, or a status and what is wrong.
pub(crate) type Answer<T> = Result<Json<T>, (StatusCode, String)>;

/// Takes the port; the task serves until the process is told to stop.
pub(crate) async fn serve(
    listen: SocketAddr,
    router: Router,
    process: &Process,
) -> Result<impl Future<Output = Result<(), Error>> + Send + 'static, Failure> {
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .map_err(Failure::unavailable)?;
    let (name, stop) = (process.about.name, process.shutdown.clone());
    Ok(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        served.await.map_err(|_| Error::Ended {
            participant: name,
            what: "the HTTP server",
        })
    })
}

/// The caller's mistake, or a bad moment.
pub(crate) fn refused<R: Display>(error: CommandError<R>) -> (StatusCode, String) {
    match error {
        CommandError::Refused(why) => (StatusCode::CONFLICT, why.to_string()),
        CommandError::KeyReused => (StatusCode::CONFLICT, error.to_string()),
        CommandError::Parked(_) | CommandError::GivenUp => {
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
        CommandError::Overloaded | CommandError::Unavailable | CommandError::Stopping => {
            (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        }
    }
}

pub(crate) fn failed(error: sqlx::Error) -> (StatusCode, String) {
    tracing::error!(%error, "cannot read");
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "the database does not answer".to_owned(),
    )
}
