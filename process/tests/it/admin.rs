use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use quadrille_process::telemetry::{Telemetry, TelemetryConfig};
use quadrille_process::{Admin, Health, Status};
use tokio_util::sync::CancellationToken;

async fn fetch(address: SocketAddr, path: &str) -> (u16, String) {
    quadrille_process::tls::install_crypto();
    let response = reqwest::get(format!("http://{address}{path}")).await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn the_admin_port_tells_how_the_process_does() {
    let (telemetry, _) = Telemetry::build(&TelemetryConfig::quiet("order")).unwrap();
    let health = Health::new();
    health.required("database");
    health.informative("broker");
    let stop = CancellationToken::new();
    let listen = "127.0.0.1:0".parse().unwrap();
    let admin = Admin::start(listen, health.clone(), telemetry.clone(), stop.clone())
        .await
        .unwrap();
    let at = admin.address();

    assert_eq!(fetch(at, "/live").await.0, 200);
    let (status, body) = fetch(at, "/ready").await;
    assert_eq!(status, 503);
    assert!(
        body.contains(r#""database":{"required":true,"status":"down","reason":"not seen yet"}"#),
        "{body}"
    );
    health.set("database", Status::Up);
    assert_eq!(fetch(at, "/ready").await.0, 200);
    health.set("database", Status::Down("connection refused".to_owned()));
    assert_eq!(fetch(at, "/ready").await.0, 503);

    metrics::counter!("test_events_total").increment(3);
    metrics::histogram!("test_wait_seconds").record(0.0123);
    telemetry.upkeep();
    let (status, text) = fetch(at, "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains("test_events_total 3"), "{text}");
    assert!(
        text.contains("test_wait_seconds_bucket{le=\"0.015\"} 1"),
        "{text}"
    );
    assert!(text.contains("quadrille_health{check=\"database\"} 0"), "{text}");
    if cfg!(target_os = "linux") {
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
    }

    assert_eq!(fetch(at, "/pause").await.0, 404);
    admin.merge(Router::new().route("/pause", get(|| async { "paused" })));
    assert_eq!(fetch(at, "/pause").await, (200, "paused".to_owned()));

    health.stopping();
    assert_eq!(fetch(at, "/ready").await.0, 503);
    stop.cancel();
}
