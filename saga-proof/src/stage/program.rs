use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use local_stack::Daemon;
use rustix::process::Signal;

use super::wait::until;

/// How long a program may take to end when it is asked to; what it is configured with is less.
const GRACE: Duration = Duration::from_secs(20);
const LOG_LINES: usize = 30;
/// How long it may take to find out that it is wrongly configured.
const REFUSAL: Duration = Duration::from_secs(60);
/// How long another verb of it may take: some wait until everybody has read what is there.
const VERB: Duration = Duration::from_secs(600);

/// A program of the system, which runs or does not. It ends when this is dropped.
#[derive(Debug)]
pub struct Program {
    /// What it is called among its like: `order`, `order-2`.
    pub name: String,
    binary: PathBuf,
    arguments: Vec<&'static str>,
    admin: u16,
    environment: BTreeMap<String, String>,
    /// What it is started with the next time, and only then.
    faults: Mutex<Option<String>>,
    daemon: Daemon,
    drawer: PathBuf,
}

impl Program {
    /// It is not started. Its log, its pid file and its drawer are below `dir`; it answers `/ready` on the port `admin`.
    pub fn new(
        name: &str,
        binary: PathBuf,
        arguments: Vec<&'static str>,
        admin: u16,
        mut environment: BTreeMap<String, String>,
        dir: &Path,
    ) -> Self {
        let drawer = dir.join("faults").join(name);
        environment.insert("QUADRILLE_FAULTS_DIR".to_owned(), drawer.display().to_string());
        Self {
            name: name.to_owned(),
            binary,
            arguments,
            admin,
            environment,
            faults: Mutex::new(None),
            daemon: Daemon::new(name, dir.join("pids").join(name), dir.join(format!("{name}.log"))),
            drawer,
        }
    }

    /// What it finds in its environment beside the rest, from its next start on.
    pub fn tell(&mut self, key: &str, value: String) {
        self.environment.insert(key.to_owned(), value);
    }

    /// Starts it. Returns once the process is there, not once it is ready.
    ///
    /// # Errors
    /// If it runs already, or cannot be started.
    pub fn start(&self) -> Result<()> {
        ensure!(!self.is_running(), "{} runs already", self.name);
        let mut command = Command::new(&self.binary);
        command
            .args(&self.arguments)
            // Whatever a developer has set is not for the programs under test.
            .env_clear()
            .env("RUST_BACKTRACE", "1")
            .envs(&self.environment);
        if let Some(faults) = self.faults.lock().unwrap_or_else(PoisonError::into_inner).take() {
            command.env("QUADRILLE_FAULTS", faults);
        }
        self.daemon.spawn(&mut command)?;
        Ok(())
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Errors
    /// If it ends instead, with the end of its log.
    pub async fn start_ready(&self) -> Result<()> {
        self.start()?;
        self.ready().await
    }

    /// Starts it anew with fault points armed, as in `engine::after_commit=abort@3`. The start after that is
    /// without them. Returns once the process is there: where work waits for it, it may reach the point and
    /// be gone before it is ever ready.
    ///
    /// # Errors
    /// If it cannot be stopped or started.
    pub async fn restart_with(&self, faults: &str) -> Result<()> {
        self.stop().await?;
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = Some(faults.to_owned());
        self.start()
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// If it does not in time, or has ended.
    pub async fn ready(&self) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/ready", self.admin);
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(2))
            .build()?;
        until(&format!("{} to be ready", self.name), async || {
            if !self.is_running() {
                // There is no use in waiting for the dead.
                return Ok(Err(self.died()));
            }
            let response = client.get(&url).send().await?;
            let status = response.status();
            let text = response.text().await?;
            ensure!(status.is_success(), "{status}: {text}");
            anyhow::Ok(Ok(()))
        })
        .await?
    }

    /// Waits until it has ended by itself: at a fault point, or because it is wrongly configured.
    ///
    /// # Errors
    /// If it still runs when the bound is reached.
    pub async fn ended(&self) -> Result<()> {
        until(&format!("{} to end by itself", self.name), async || {
            if self.is_running() {
                Err("it still runs")
            } else {
                Ok(())
            }
        })
        .await
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// If even that does not remove it.
    pub fn kill(&self) -> Result<()> {
        Ok(self.daemon.stop(Signal::KILL, Duration::ZERO)?)
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub async fn stop(&self) -> Result<()> {
        Ok(tokio::task::block_in_place(|| {
            self.daemon.stop(Signal::TERM, GRACE)
        })?)
    }

    /// SIGSTOP: its connections stay open, and it does nothing.
    ///
    /// # Errors
    /// If it does not run.
    pub fn freeze(&self) -> Result<()> {
        ensure!(self.daemon.signal(Signal::STOP), "{} does not run", self.name);
        Ok(())
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// If it does not run.
    pub fn wake(&self) -> Result<()> {
        ensure!(self.daemon.signal(Signal::CONT), "{} does not run", self.name);
        Ok(())
    }

    /// Whether the process is there, frozen or not.
    pub fn is_running(&self) -> bool {
        self.daemon.pid().is_some()
    }

    /// The number of its process, if it is there.
    pub fn pid(&self) -> Option<u32> {
        u32::try_from(self.daemon.pid()?.as_raw_nonzero().get()).ok()
    }

    /// Where its faults are put in, and come out when they have happened.
    pub fn drawer(&self) -> &Path {
        &self.drawer
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(self.daemon.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// A number of its metrics, summed over the labels; 0 if it has none of that name.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let url = format!("http://127.0.0.1:{}/metrics", self.admin);
        let text = reqwest::get(url).await?.error_for_status()?.text().await?;
        let mut sum = 0.0;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            if series == name
                || series
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('{'))
            {
                let value: f64 = value.parse().with_context(|| format!("the metric {line}"))?;
                #[allow(clippy::float_arithmetic)]
                {
                    sum += value;
                }
            }
        }
        Ok(sum)
    }

    /// Runs it to its end with these settings on top of its own, as somebody does who has set them wrong.
    ///
    /// # Errors
    /// If it does not end within a minute.
    pub async fn run_with(&self, settings: &[(&str, Option<&str>)]) -> Result<(Option<i32>, String)> {
        let mut command = tokio::process::Command::new(&self.binary);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .kill_on_drop(true);
        for (key, value) in settings {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        let output = tokio::time::timeout(REFUSAL, command.output());
        let Ok(output) = output.await else {
            bail!("{} runs with settings that are wrong: {settings:?}", self.name)
        };
        let output = output?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
    }

    /// Runs another verb of it to its end, with its own settings.
    ///
    /// # Errors
    /// If it does not end within ten minutes, or not well.
    pub async fn told(&self, arguments: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::new(&self.binary);
        command
            .args(arguments)
            .env_clear()
            .envs(&self.environment)
            .kill_on_drop(true);
        let output = tokio::time::timeout(VERB, command.output())
            .await
            .with_context(|| format!("{} {arguments:?} takes too long", self.name))??;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure!(output.status.success(), "{} {arguments:?}: {said}", self.name);
        Ok(said)
    }

    fn died(&self) -> anyhow::Error {
        anyhow::anyhow!(
            "{} has ended; the end of {}:\n{}",
            self.name,
            self.daemon.log().display(),
            self.log_tail()
        )
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("{error}");
        }
    }
}
