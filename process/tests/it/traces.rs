use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use quadrille_process::telemetry::{self, Telemetry, TelemetryConfig};
use tokio::net::TcpListener;

use crate::collector::Collector;

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01";

fn config(endpoint: String, sample_ratio: f64) -> TelemetryConfig {
    TelemetryConfig {
        otlp_endpoint: Some(endpoint),
        sample_ratio,
        ..TelemetryConfig::quiet("order")
    }
}

#[tokio::test]
async fn a_span_arrives_with_its_parent_and_its_link() {
    let mut collector = Collector::start().await;
    // Of the traces that begin here none is kept; the caller's decision counts all the same.
    let (telemetry, dispatch) =
        Telemetry::build(&config(format!("http://{}", collector.address), 0.0)).unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        let span = tracing::info_span!("process order-events", messaging.system = "kafka");
        telemetry::set_parent(&span, CALLER, None);
        telemetry::link(&span, OTHER);
        span.in_scope(|| {
            assert!(
                telemetry::current_traceparent()
                    .unwrap()
                    .contains("4bf92f3577b34da6")
            )
        });
        tracing::info_span!("not sampled").in_scope(|| ());
    });
    telemetry.shutdown(Duration::from_secs(10)).await;

    let request = collector.received.recv().await.unwrap();
    let resource_spans = &request.resource_spans[0];
    let attributes = &resource_spans.resource.as_ref().unwrap().attributes;
    let service = attributes
        .iter()
        .find(|attribute| attribute.key == "service.name")
        .unwrap();
    assert_eq!(
        service.value.as_ref().unwrap().value,
        Some(Value::StringValue("order".to_owned()))
    );
    let spans = &resource_spans.scope_spans[0].spans;
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(spans[0].name, "process order-events");
    assert_eq!(
        spans[0].trace_id,
        0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes()
    );
    assert_eq!(spans[0].parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!(spans[0].links[0].span_id, [0xbb; 8]);
    assert!(collector.received.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_collector_costs_nothing_but_the_spans() {
    // Two kinds of absence: nobody listens, and somebody listens who never answers.
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for address in [closed, silent.local_addr().unwrap()] {
        let (telemetry, dispatch) = Telemetry::build(&config(format!("http://{address}"), 1.0)).unwrap();
        // Far more than the queue holds. If making a span ever waited for the exporter, then this would
        // take its timeout many times over.
        tracing::dispatcher::with_default(&dispatch, || {
            for _ in 0..50_000 {
                tracing::info_span!("work").in_scope(|| ());
            }
        });
        let began = Instant::now();
        telemetry.shutdown(Duration::from_millis(100)).await;
        // Not a measurement: without the bound it would be five seconds per batch, of which there are eight.
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "shutdown is not bounded"
        );
    }
    // Given up after the exporter's own retries, counted, and nobody's problem.
    let (telemetry, _) = Telemetry::build(&TelemetryConfig::quiet("order")).unwrap();
    tokio::time::timeout(Duration::from_secs(60), async {
        while !telemetry.metrics_text().contains("quadrille_spans_lost_total") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
}
