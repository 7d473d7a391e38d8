//! Everything on this machine, as a process each: the four services, the airline and the relay.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Url;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::process::{Child, Command};

use crate::contracts::TOPICS;

/// Services with a database, which has an outbox.
pub const SERVICES: [&str; 4] = ["desk", "hotel", "car", "flight"];

const PATIENCE: Duration = Duration::from_secs(60);

/// What runs where.
#[derive(Debug)]
pub struct Local {
    /// Trips are booked here.
    pub desk: Url,
    /// Hotels are opened here.
    pub hotel: Url,
    /// The airline's API.
    pub airline: Url,
    /// Where the processes write what they do.
    pub logs: PathBuf,
    children: Vec<(&'static str, Child)>,
}

/// Where things are, and where they will be.
struct Place {
    postgres: Url,
    brokers: String,
    prefix: String,
    base: u16,
    logs: PathBuf,
}

impl Local {
    /// Makes databases and topics, and starts everything. `QUADRILLE_POSTGRES_URL` and `QUADRILLE_KAFKA_BROKERS` say where
    /// the servers are, as `local-stack run` sets them; ports are counted from `TRIP_PORT_BASE`, or 8700.
    ///
    /// # Errors
    /// If a server is not there, or a process does not start.
    pub async fn start() -> Result<Self> {
        let place = Place::find()?;
        std::fs::create_dir_all(&place.logs).with_context(|| format!("create {}", place.logs.display()))?;
        for service in SERVICES {
            place.make_database(service).await?;
        }
        place.make_topics().await?;
        let mut local = Self {
            desk: place.url(0)?,
            hotel: place.url(1)?,
            airline: place.url(2)?,
            logs: place.logs.clone(),
            children: Vec::new(),
        };
        let own = std::env::current_exe().context("our own program")?;
        for name in ["airline", "desk", "hotel", "car", "flight"] {
            let mut command = Command::new(&own);
            command.arg(name).envs(place.environment(name)?);
            local.spawn(name, command, &place)?;
        }
        local.until_ready(&place).await?;
        // Its outboxes are there now: each service has migrated its own database.
        let mut relay = Command::new(neighbour("outbox-relay")?);
        relay.arg("run").envs(place.environment("relay")?);
        local.spawn("relay", relay, &place)?;
        local.until_ready(&place).await?;
        Ok(local)
    }

    fn spawn(&mut self, name: &'static str, mut command: Command, place: &Place) -> Result<()> {
        let path = place.logs.join(format!("{name}.log"));
        let log = File::create(&path).with_context(|| format!("write to {}", path.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        self.children.push((name, child));
        Ok(())
    }

    async fn until_ready(&mut self, place: &Place) -> Result<()> {
        let begun = Instant::now();
        for (name, child) in &mut self.children {
            let ready = place.url(admin(name))?.join("ready")?;
            while !reqwest::get(ready.clone())
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                let log = place.logs.join(format!("{name}.log"));
                ensure!(
                    child.try_wait()?.is_none(),
                    "{name} has ended; see {}",
                    log.display()
                );
                ensure!(
                    begun.elapsed() < PATIENCE,
                    "{name} is not ready; see {}",
                    log.display()
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Waits until one of them ends, which it should not.
    ///
    /// # Errors
    /// Always: its name.
    pub async fn until_one_ends(&mut self) -> Result<()> {
        loop {
            for (name, child) in &mut self.children {
                if let Some(status) = child.try_wait()? {
                    bail!("{name} has ended: {status}; see {}", self.logs.display());
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Asks all of them to end, the relay last but for nobody: what is committed and not published waits in its outbox.
    ///
    /// # Errors
    /// If one does not.
    pub async fn stop(mut self) -> Result<()> {
        for (_, child) in &self.children {
            if let Some(pid) = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
                // It may have ended meanwhile.
                kill_process(pid, Signal::TERM).ok();
            }
        }
        for (name, child) in &mut self.children {
            let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
            ended.with_context(|| format!("{name} does not end"))??;
        }
        Ok(())
    }
}

impl Place {
    fn find() -> Result<Self> {
        let required = |name: &str| {
            let hint = "run this with `./justw trip up`, or set it to where your own server is";
            std::env::var(name).with_context(|| format!("{name} is not set; {hint}"))
        };
        let base = match std::env::var("TRIP_PORT_BASE") {
            Ok(base) => base.parse().context("TRIP_PORT_BASE is no port")?,
            Err(_) => 8700,
        };
        Ok(Self {
            postgres: required("QUADRILLE_POSTGRES_URL")?
                .parse()
                .context("QUADRILLE_POSTGRES_URL")?,
            brokers: required("QUADRILLE_KAFKA_BROKERS")?,
            prefix: std::env::var("QUADRILLE_PREFIX").unwrap_or_default(),
            base,
            logs: std::env::temp_dir().join(format!("quadrille-trip-{base}")),
        })
    }

    fn at(&self, offset: u16) -> String {
        format!("127.0.0.1:{}", self.base + offset)
    }

    fn url(&self, offset: u16) -> Result<Url> {
        Ok(format!("http://{}/", self.at(offset)).parse()?)
    }

    fn database(&self, service: &str) -> Url {
        let mut url = self.postgres.clone();
        url.set_path(&format!("{}trip_{service}", self.prefix));
        url
    }

    async fn make_database(&self, service: &str) -> Result<()> {
        let mut admin = PgConnection::connect(self.postgres.as_str())
            .await
            .context("reach PostgreSQL")?;
        let create = format!("create database \"{}trip_{service}\"", self.prefix);
        match sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut admin).await {
            Ok(_) => Ok(()),
            // duplicate_database
            Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == "42P04") => Ok(()),
            Err(error) => Err(error).context("create a database"),
        }
    }

    /// Topics come from a registry, never by accident, so somebody has to make them.
    async fn make_topics(&self) -> Result<()> {
        let made = Command::new(neighbour("sagactl")?)
            .args(["topics", "create"])
            .args(TOPICS.iter().map(|topic| topic.name))
            .env("SAGACTL_KAFKA_BROKERS", &self.brokers)
            .env("SAGACTL_PREFIX", &self.prefix)
            .stdout(Stdio::null())
            .status()
            .await
            .context("call sagactl")?;
        ensure!(made.success(), "the topics cannot be made");
        Ok(())
    }

    /// What a process is told. In production each service has roles of its own; here all are one.
    fn environment(&self, name: &str) -> Result<Vec<(String, String)>> {
        let prefix = name.to_uppercase();
        let mut all = vec![
            ("QUADRILLE_KAFKA_BROKERS".to_owned(), self.brokers.clone()),
            ("QUADRILLE_PREFIX".to_owned(), self.prefix.clone()),
            ("QUADRILLE_RELAY_DOORBELLS".to_owned(), self.at(admin("relay"))),
        ];
        let mut own = |key: &str, value: String| all.push((format!("{prefix}_{key}"), value));
        own("ADMIN_LISTEN", self.at(admin(name)));
        if SERVICES.contains(&name) {
            own("DATABASE_URL", self.database(name).into());
            own("MIGRATE_DATABASE_URL", self.database(name).into());
        }
        match name {
            "desk" => own("LISTEN", self.at(0)),
            "hotel" => own("LISTEN", self.at(1)),
            "airline" => own("LISTEN", self.at(2)),
            "flight" => own("AIRLINE_URL", self.url(2)?.into()),
            "relay" => {
                let sources = SERVICES.map(|service| format!("{service}={}", self.database(service)));
                own("SOURCES", sources.join(","));
                own("DOORBELL_LISTEN", self.at(admin(name)));
            }
            _ => {}
        }
        Ok(all)
    }
}

/// Where a process answers `/ready`: the distance from the base.
fn admin(name: &str) -> u16 {
    let all = ["desk", "hotel", "car", "flight", "airline", "relay"];
    let index = all.iter().position(|known| *known == name).unwrap_or(all.len());
    10 + u16::try_from(index).unwrap_or(0)
}

/// A program of this workspace, beside our own.
fn neighbour(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("our own program")?;
    let path = own.parent().unwrap_or(Path::new(".")).join(name);
    ensure!(
        path.is_file(),
        "there is no {}; build it with `cargo build --bin {name}`",
        path.display()
    );
    Ok(path)
}
