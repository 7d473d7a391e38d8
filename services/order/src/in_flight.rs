use std::time::Duration;

use quadrille_process::Chain;
use saga_core::Participant;
use saga_runtime::metrics as names;
use saga_runtime::service;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::participant::Orders;
use crate::store;

/// An index holds exactly what is counted, and nobody looks at a gauge more often.
const EVERY: Duration = Duration::from_secs(5);

/// Counts the orders in flight until it is told to stop. Every process of the service says the same number.
pub(crate) async fn count(pool: PgPool, stop: CancellationToken) -> Result<(), service::Error> {
    while !stop.is_cancelled() {
        match store::count_in_flight(&pool).await {
            // A gauge is a float; it is exact far beyond any number of orders.
            #[allow(clippy::cast_precision_loss)]
            Ok(count) => {
                metrics::gauge!(names::SAGAS_IN_FLIGHT, "participant" => Orders::NAME).set(count as f64)
            }
            Err(error) => tracing::debug!(error = %Chain(&error), "cannot count orders in flight"),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(())
}
