//! Logs go to standard error, spans to an OTLP collector, metrics to whoever scrapes the admin port.
//!
//! A collector that is down costs nothing but the spans: they wait in a bounded queue, the newest are
//! dropped when it is full, and nothing that does work ever waits for it.
//!
//! Without `OTLP_ENDPOINT` there are no spans at all, so a caller's context ends here.

/// What is told to whom.
mod config;

/// W3C Trace Context: what travels with a call or an event.
mod context;

/// Spans on their way to the collector, which may be away.
mod exporter;

/// The recorder and its buckets.
mod metrics;

use std::sync::Arc;
use std::time::Duration;

use ::metrics::counter;
use metrics_exporter_prometheus::PrometheusHandle;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Dispatch;
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

pub use config::{LogFilter, LogFormat, TelemetryConfig};
pub use context::{TraceContext, current_trace, current_traceparent, link, set_parent};

/// Logs, traces and metrics of this process. A clone is a handle to the same.
#[derive(Clone)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
    prometheus: Arc<PrometheusHandle>,
}

/// Telemetry that cannot be set up; always a mistake in the configuration.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The OTLP exporter refuses its settings.
    #[error("building the exporter of spans to {endpoint}")]
    Exporter {
        /// Where the spans were to go.
        endpoint: String,
        /// Why not.
        #[source]
        cause: opentelemetry_otlp::ExporterBuildError,
    },
    /// The filter of the log is malformed.
    #[error("reading the log filter `{filter}`")]
    Filter {
        /// The filter.
        filter: String,
        /// Why not.
        #[source]
        cause: tracing_subscriber::filter::ParseError,
    },
}

impl Telemetry {
    /// Sets everything up for the whole process. Must be called within a Tokio runtime.
    ///
    /// A second call in one process (a test) leaves the first log and trace subscriber in place; metrics
    /// are shared.
    ///
    /// # Errors
    /// When the configuration is wrong. A collector that cannot be reached is not an error.
    pub fn init(config: &TelemetryConfig) -> Result<Telemetry, TelemetryError> {
        let (telemetry, dispatch) = Telemetry::build(config)?;
        if tracing::dispatcher::set_global_default(dispatch).is_err() {
            tracing::debug!("a subscriber is already installed and stays");
        }
        Ok(telemetry)
    }

    /// The same without touching the process's subscriber, for a test that wants one of its own
    /// (`tracing::dispatcher::set_default`).
    ///
    /// # Errors
    /// As [`Telemetry::init`].
    pub fn build(config: &TelemetryConfig) -> Result<(Telemetry, Dispatch), TelemetryError> {
        let prometheus = metrics::recorder();
        let provider = config
            .otlp_endpoint
            .as_deref()
            .map(|endpoint| provider(config, endpoint))
            .transpose()?;
        global::set_text_map_propagator(TraceContextPropagator::new());

        let filter = EnvFilter::builder()
            .parse(config.log_filter.as_str())
            .map_err(|cause| TelemetryError::Filter {
                filter: config.log_filter.as_str().to_owned(),
                cause,
            })?;
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let log = match config.log_format {
            LogFormat::Json => log.json().flatten_event(true).with_current_span(false).boxed(),
            LogFormat::Human => log
                .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
                .boxed(),
        };
        let traces = provider.as_ref().map(|provider| {
            // Only what we say about our own work: the HTTP/2 stack below the exporter has spans as well,
            // and exporting those would make new ones.
            let ours = filter_fn(|metadata| {
                const MACHINERY: [&str; 7] =
                    ["h2", "hyper", "tonic", "tower", "opentelemetry", "sqlx", "rustls"];
                !MACHINERY
                    .iter()
                    .any(|machinery| metadata.target().starts_with(machinery))
            });
            // Spans, and of the log lines inside them those that say that something is wrong.
            let matters =
                filter_fn(|metadata| metadata.is_span() || *metadata.level() <= tracing::Level::WARN);
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("quadrille"))
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_tracked_inactivity(false)
                .with_filter(LevelFilter::INFO.and(ours).and(matters))
        });
        let subscriber = Registry::default().with(log.with_filter(filter)).with(traces);
        Ok((Telemetry { provider, prometheus }, Dispatch::new(subscriber)))
    }

    /// Whether spans are collected. If not, whoever would make thousands of them a second need not.
    pub fn has_traces(&self) -> bool {
        self.provider.is_some()
    }

    /// Everything that was counted, as Prometheus text.
    pub fn metrics_text(&self) -> String {
        self.prometheus.render()
    }

    /// Drains what histograms collected since the last time. Whoever does not run the process with
    /// [`run`](crate::run) calls it every few seconds.
    pub fn upkeep(&self) {
        self.prometheus.run_upkeep();
    }

    /// Sends the last spans, for no longer than `patience`.
    pub async fn shutdown(&self, patience: Duration) {
        let Some(provider) = self.provider.clone() else {
            return;
        };
        // It blocks its thread until the exporter's thread has answered.
        let stopped = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(patience));
        match stopped.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                counter!("quadrille_telemetry_shutdown_failed_total").increment(1);
                tracing::debug!(%error, "last spans were not sent");
            }
            Err(error) => tracing::debug!(%error, "last spans were not sent"),
        }
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry")
            .field("traces", &self.provider.is_some())
            .finish_non_exhaustive()
    }
}

fn provider(config: &TelemetryConfig, endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let processor = exporter::bounded(endpoint).map_err(|cause| TelemetryError::Exporter {
        endpoint: endpoint.to_owned(),
        cause,
    })?;
    let resource = Resource::builder()
        .with_service_name(config.service_name.clone())
        .with_attribute(KeyValue::new("service.namespace", "quadrille"))
        .with_attribute(KeyValue::new("service.instance.id", config.instance.clone()))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
            config.sample_ratio,
        ))))
        .with_span_processor(processor)
        .build())
}
