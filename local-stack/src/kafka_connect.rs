use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::StackError;
use crate::artifacts::{java, remove_dir, require, run};
use crate::checkout::{Checkout, lock, make_dir};
use crate::daemon::{Daemon, write_whole};
use crate::jvm::Jvm;
use crate::probe;
use crate::wait::{Look, until};

const START_LIMIT: Duration = Duration::from_secs(120);
/// A connector stops and goes on within seconds.
const TURN_LIMIT: Duration = Duration::from_secs(60);
const STOP_GRACE: Duration = Duration::from_secs(20);

/// The programs of Kafka Connect with Debezium's connector for PostgreSQL.
#[derive(Clone, Debug)]
pub struct ConnectPrograms {
    jars: PathBuf,
    java: PathBuf,
    log4j: PathBuf,
}

impl ConnectPrograms {
    /// Fetches them, if they are not in the cache yet.
    ///
    /// # Errors
    /// If they cannot be had.
    pub fn fetch() -> Result<Self, StackError> {
        let checkout = Checkout::find()?;
        let pom = checkout.debezium_pom();
        let wanted =
            fs::read_to_string(&pom).map_err(StackError::io(|| format!("read {}", pom.display())))?;
        let cache = checkout.cache();
        make_dir(&cache)?;
        let jars = cache.join("debezium");
        let _held = lock(&cache.join("lock"), "fetching Debezium")?;
        require(&checkout, &["stack"])?;
        if !fs::read_to_string(jars.join("pom.xml")).is_ok_and(|had| had == wanted) {
            eprintln!("  fetching Kafka Connect and Debezium from Maven Central (about 40 MB, once)");
            let draft = jars.with_extension("draft");
            remove_dir(&draft)?;
            run(
                "fetch Kafka Connect and Debezium",
                Command::new("mvn")
                    .args(["--batch-mode", "--quiet", "--file"])
                    .arg(&pom)
                    .arg("generate-resources")
                    .arg(format!("-Dout={}", draft.display())),
            )?;
            write_whole(&draft.join("pom.xml"), wanted.as_bytes())?;
            remove_dir(&jars)?;
            fs::rename(&draft, &jars).map_err(StackError::io(|| format!("rename {}", draft.display())))?;
        }
        Ok(Self {
            jars,
            java: java(),
            log4j: checkout.log4j(),
        })
    }
}

/// How a worker of Kafka Connect is set up.
#[derive(Clone, Debug)]
pub struct ConnectSettings {
    /// Name of the one connector.
    pub name: String,
    /// Its settings.
    pub connector: Vec<(String, String)>,
    /// Most heap of the JVM.
    pub heap_mb: u16,
    /// The JVM compiles quickly rather than well.
    pub short_lived: bool,
}

/// A standalone worker of Kafka Connect with one connector. It ends when the value is dropped.
#[derive(Debug)]
pub struct KafkaConnect {
    port: u16,
    name: String,
    daemon: Daemon,
}

impl KafkaConnect {
    /// Starts one and waits until its connector's task runs.
    pub(crate) fn start(
        programs: &ConnectPrograms,
        settings: &ConnectSettings,
        brokers: &str,
        port: u16,
        folder: &Path,
        daemon: Daemon,
    ) -> Result<Self, StackError> {
        make_dir(folder)?;
        let (worker, connector) = (
            folder.join("worker.properties"),
            folder.join("connector.properties"),
        );
        let text = format!(
            "bootstrap.servers={brokers}\n\
             listeners=http://127.0.0.1:{port}\n\
             offset.storage.file.filename={}\n\
             offset.flush.interval.ms=1000\n\
             key.converter=org.apache.kafka.connect.storage.StringConverter\n\
             value.converter=org.apache.kafka.connect.storage.StringConverter\n\
             # Everything is on the class path.\n\
             plugin.discovery=service_load\n",
            folder.join("offsets").display()
        );
        write_whole(&worker, text.as_bytes())?;
        let lines: String = settings
            .connector
            .iter()
            // A backslash begins an escape in such a file.
            .map(|(key, value)| format!("{key}={}\n", value.replace('\\', "\\\\")))
            .collect();
        let lines = format!("name={}\n{lines}", settings.name);
        write_whole(&connector, lines.as_bytes())?;
        let jvm = Jvm {
            java: programs.java.clone(),
            jars: programs.jars.clone(),
            log4j: programs.log4j.clone(),
            heap_mb: settings.heap_mb,
            short_lived: settings.short_lived,
        };
        let mut command = jvm.command("org.apache.kafka.connect.cli.ConnectStandalone", folder);
        daemon.spawn(command.arg(&worker).arg(&connector))?;
        let connect = Self {
            port,
            name: settings.name.clone(),
            daemon,
        };
        connect
            .daemon
            .wait_ready(START_LIMIT, || connect.is("RUNNING", 2))?;
        Ok(connect)
    }

    /// Host and port of its REST API.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Ends the connector's task; the worker goes on, as warm as it is.
    ///
    /// # Errors
    /// If the worker does not do it.
    pub fn stop_connector(&self) -> Result<(), StackError> {
        self.turn("stop", "STOPPED", 1)
    }

    /// Starts the connector's task again, where it left off.
    ///
    /// # Errors
    /// If the worker does not do it.
    pub fn resume_connector(&self) -> Result<(), StackError> {
        self.turn("resume", "RUNNING", 2)
    }

    fn turn(&self, verb: &str, state: &str, times: usize) -> Result<(), StackError> {
        let path = format!("/connectors/{}/{verb}", self.name);
        let mut accepted = false;
        until(&format!("connector: {verb}"), TURN_LIMIT, || {
            if !accepted && let Err(reason) = probe::http_put(&self.address(), &path) {
                return Look::NotYet(reason);
            }
            accepted = true;
            match self.is(state, times) {
                Ok(()) => Look::Ready,
                Err(reason) => Look::NotYet(reason),
            }
        })
    }

    /// Whether so many of connector and task are in a state.
    fn is(&self, state: &str, times: usize) -> Result<(), String> {
        let path = format!("/connectors/{}/status", self.name);
        let status = probe::http_get(&self.address(), &path)?;
        let sought = format!("\"state\":\"{state}\"");
        if status.matches(&sought).count() == times && status.matches("\"state\":").count() == times {
            Ok(())
        } else {
            Err(status)
        }
    }
}

impl Drop for KafkaConnect {
    fn drop(&mut self) {
        if let Err(error) = self.daemon.stop(Signal::TERM, STOP_GRACE) {
            eprintln!("kafka connect: {error}");
        }
    }
}
