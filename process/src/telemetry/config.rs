use std::fmt;
use std::str::FromStr;

use tracing_subscriber::filter::EnvFilter;

use crate::config::Env;

/// What a process tells about itself, to whom, and how much.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// `service.name` of its spans.
    pub service_name: String,
    /// Which of several processes of that service it is.
    pub instance: String,
    /// Lines for people or for machines.
    pub log_format: LogFormat,
    /// Which lines.
    pub log_filter: LogFilter,
    /// `http://host:port` of an OTLP collector (gRPC); without one no spans are made.
    pub otlp_endpoint: Option<String>,
    /// How many of the traces that begin here are kept, 0 to 1. A caller's decision is followed.
    pub sample_ratio: f64,
}

impl TelemetryConfig {
    /// Reads `LOG_FORMAT`, `LOG`, `OTLP_ENDPOINT`, `TRACE_SAMPLE_RATIO` and `INSTANCE`.
    pub fn from_env(env: &mut Env, service_name: &str) -> Option<TelemetryConfig> {
        let log_format = env.or("LOG_FORMAT", LogFormat::Human, "human or json");
        let log_filter = env.or(
            "LOG",
            LogFilter::default(),
            "level, or target=level, comma separated (tracing's EnvFilter)",
        );
        let otlp_endpoint: Option<OtlpEndpoint> =
            env.optional("OTLP_ENDPOINT", "http://host:port of an OTLP collector (gRPC)");
        let sample_ratio = env.bounded("TRACE_SAMPLE_RATIO", 1.0, 0.0..=1.0);
        let instance = env.or(
            "INSTANCE",
            host_name(),
            "name of this process among those of its service",
        );
        Some(TelemetryConfig {
            service_name: service_name.to_owned(),
            instance,
            log_format,
            log_filter,
            otlp_endpoint: otlp_endpoint.map(|endpoint| endpoint.0),
            sample_ratio,
        })
    }

    /// Human log lines at the default level, no traces: for tests and tools.
    pub fn quiet(service_name: &str) -> TelemetryConfig {
        TelemetryConfig {
            service_name: service_name.to_owned(),
            instance: host_name(),
            log_format: LogFormat::Human,
            log_filter: LogFilter::default(),
            otlp_endpoint: None,
            sample_ratio: 1.0,
        }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For a terminal.
    Human,
    /// One JSON object per line; the fields of the event at the top, those of its spans under `spans`.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogFormat::Human => "human",
            LogFormat::Json => "json",
        })
    }
}

/// A value that cannot be used; the reader of the configuration says what could be.
#[derive(Debug, thiserror::Error)]
#[error("malformed")]
pub struct Malformed;

impl FromStr for LogFormat {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<LogFormat, Malformed> {
        match text {
            "human" => Ok(LogFormat::Human),
            "json" => Ok(LogFormat::Json),
            _ => Err(Malformed),
        }
    }
}

/// A filter that was checked, as text: `EnvFilter` itself cannot be cloned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// The filter's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogFilter {
    fn default() -> LogFilter {
        LogFilter("info".to_owned())
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LogFilter {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<LogFilter, Malformed> {
        EnvFilter::builder().parse(text).map_err(|_| Malformed)?;
        Ok(LogFilter(text.to_owned()))
    }
}

struct OtlpEndpoint(String);

impl FromStr for OtlpEndpoint {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<OtlpEndpoint, Malformed> {
        let uri: axum::http::Uri = text.parse().map_err(|_| Malformed)?;
        let plain = uri.scheme_str() == Some("http") && uri.port_u16().is_some();
        if plain {
            Ok(OtlpEndpoint(text.to_owned()))
        } else {
            Err(Malformed)
        }
    }
}

/// The kernel's name for this machine, which in a container or pod is the name of that.
fn host_name() -> String {
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = std::env::var("HOSTNAME").ok().or_else(kernel).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named() {
        let pairs = [
            ("ORDER_LOG_FORMAT", "xml"),
            ("ORDER_LOG", "order=loud"),
            ("ORDER_OTLP_ENDPOINT", "localhost:4317"),
            ("ORDER_TRACE_SAMPLE_RATIO", "1.5"),
        ];
        let invalid = Env::from_pairs("ORDER", pairs)
            .build(|env| TelemetryConfig::from_env(env, "order"))
            .unwrap_err();
        assert_eq!(
            invalid.to_string(),
            "ORDER_LOG_FORMAT is `xml`; expected human or json\n\
             ORDER_LOG is `order=loud`; expected level, or target=level, comma separated (tracing's EnvFilter)\n\
             ORDER_OTLP_ENDPOINT is `localhost:4317`; expected http://host:port of an OTLP collector (gRPC)\n\
             ORDER_TRACE_SAMPLE_RATIO is `1.5`; expected a number from 0 to 1"
        );
    }
}
