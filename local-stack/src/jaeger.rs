use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::StackError;
use crate::artifacts::on_path;
use crate::checkout::{Checkout, make_dir};
use crate::daemon::{Daemon, write_whole};
use crate::probe;

const START_LIMIT: Duration = Duration::from_secs(30);

/// A Jaeger on this machine, where somebody has put its program on PATH or into `.local/bin`. Traces are kept in memory.
#[derive(Debug)]
pub struct Jaeger {
    program: PathBuf,
    query: String,
    otlp: String,
    data: PathBuf,
    daemon: Daemon,
}

impl Jaeger {
    /// A server that may or may not run; nothing is started. `query` and `otlp` are the addresses of its page and of its
    /// gRPC collector.
    ///
    /// # Errors
    /// If there is no program for it.
    pub fn new(
        checkout: &Checkout,
        query: String,
        otlp: String,
        data: PathBuf,
        daemon: Daemon,
    ) -> Result<Self, StackError> {
        let program = program(checkout)
            .ok_or_else(|| StackError::Unavailable("there is no program `jaeger` here".to_owned()))?;
        Ok(Self {
            program,
            query,
            otlp,
            data,
            daemon,
        })
    }

    /// Whether this machine has a program for it.
    pub fn is_installed(checkout: &Checkout) -> bool {
        program(checkout).is_some()
    }

    /// Starts it and waits until its query API answers. Harmless if it runs.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(&self) -> Result<(), StackError> {
        if self.daemon.pid().is_none() {
            make_dir(&self.data)?;
            let settings = self.data.join("jaeger.yaml");
            write_whole(&settings, self.settings().as_bytes())?;
            self.daemon.spawn(
                Command::new(&self.program)
                    .arg("--config")
                    .arg(&settings)
                    .current_dir(&self.data),
            )?;
        }
        self.daemon.wait_ready(START_LIMIT, || probe::jaeger(&self.query))
    }

    fn settings(&self) -> String {
        format!(
            "# Written by local-stack at each start.
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{ receivers: [otlp], processors: [batch], exporters: [jaeger_storage_exporter] }}
  telemetry:
    metrics: {{ level: none }}
extensions:
  jaeger_storage:
    backends:
      memory: {{ memory: {{ max_traces: 100000 }} }}
  jaeger_query:
    storage: {{ traces: memory }}
    # Its own spans would go to port 4317, where nobody listens, and its end would wait for that.
    enable_tracing: false
    http: {{ endpoint: \"{}\" }}
    # Nobody here asks it over gRPC, and it cannot be switched off.
    grpc: {{ endpoint: \"127.0.0.1:0\" }}
receivers:
  otlp:
    protocols:
      grpc: {{ endpoint: \"{}\" }}
processors:
  batch: {{}}
exporters:
  jaeger_storage_exporter: {{ trace_storage: memory }}
",
            self.query, self.otlp
        )
    }
}

fn program(checkout: &Checkout) -> Option<PathBuf> {
    let own = checkout.state().join("bin/jaeger");
    if own.is_file() {
        return Some(own);
    }
    let name = Path::new("jaeger");
    on_path(name).then(|| name.to_owned())
}
