use std::time::Duration;

use quadrille_process::{Health, Status};
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The name under which the broker's health is asked for. Without the broker commands are still taken:
/// that is what an outbox is for.
const BROKER: &str = "kafka";

/// Keeps the health service up to date: the empty name and each service's own say whether commands are
/// taken, [`BROKER`] whether the broker is there.
pub(super) async fn report(
    mut reporter: HealthReporter,
    services: Vec<&'static str>,
    process: Health,
    stop: CancellationToken,
) {
    let mut ready = process.watch();
    while !stop.is_cancelled() {
        let report = process.report();
        let broker = report.checks.get(BROKER).map(|check| check.status == Status::Up);
        for name in services.iter().copied().chain([""]) {
            reporter.set_service_status(name, serving(report.ready)).await;
        }
        if let Some(up) = broker {
            reporter.set_service_status(BROKER, serving(up)).await;
        }
        // A change of readiness is told at once; that of the broker is not worth a channel.
        tokio::select! {
            changed = ready.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = stop.cancelled() => {}
        }
    }
    let names = || services.iter().copied().chain(["", BROKER]);
    for name in names() {
        reporter.set_service_status(name, ServingStatus::NotServing).await;
    }
    // Ends the streams of those who watch, which would keep their connections open.
    for name in names() {
        reporter.clear_service_status(name).await;
    }
}

fn serving(up: bool) -> ServingStatus {
    if up {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}
