use std::sync::Mutex;
use std::time::{Duration, Instant};

use metrics::counter;
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter};

/// Spans that wait for the collector. About 1 kB each, so this is what an outage may cost in memory.
const QUEUE_SPANS: usize = 8 * 1024;
const BATCH_SPANS: usize = 1024;
const DELAY: Duration = Duration::from_secs(1);
/// How long one batch may take; the next ones wait in the queue meanwhile.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a collector that is away is worth a line.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// A processor with a bounded queue and a thread of its own, which exports over gRPC.
pub(super) fn bounded(endpoint: &str) -> Result<BatchSpanProcessor, ExporterBuildError> {
    let otlp = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_SPANS)
        .with_max_export_batch_size(BATCH_SPANS)
        .with_scheduled_delay(DELAY)
        .build();
    let exporter = Forgiving {
        otlp,
        endpoint: endpoint.to_owned(),
        complained: Mutex::new(None),
    };
    Ok(BatchSpanProcessor::builder(exporter)
        .with_batch_config(config)
        .build())
}

/// Takes the collector's absence for what it is: the SDK would log an error for every batch.
#[derive(Debug)]
struct Forgiving {
    otlp: opentelemetry_otlp::SpanExporter,
    endpoint: String,
    complained: Mutex<Option<Instant>>,
}

impl SpanExporter for Forgiving {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        match self.otlp.export(batch).await {
            Ok(()) => counter!("quadrille_spans_exported_total").increment(spans.try_into().unwrap_or(0)),
            Err(error) => {
                counter!("quadrille_spans_lost_total").increment(spans.try_into().unwrap_or(0));
                if self.may_complain() {
                    tracing::warn!(endpoint = self.endpoint, spans, %error, "collector takes no spans");
                } else {
                    tracing::debug!(endpoint = self.endpoint, spans, %error, "collector takes no spans");
                }
            }
        }
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}

impl Forgiving {
    fn may_complain(&self) -> bool {
        let mut complained = self
            .complained
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        let due = complained.is_none_or(|at| now.duration_since(at) >= COMPLAIN_EVERY);
        if due {
            *complained = Some(now);
        }
        due
    }
}
