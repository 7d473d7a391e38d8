use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use local_stack::{Addresses, Guardian, free_ports};
use service_testing::Database;
use sqlx::PgPool;
use uuid::Uuid;

use super::outboxes::connect;
use super::parts::{Part, Parts};
use super::{Program, programs, topics, witness};

/// The program that publishes all outboxes.
pub const RELAY: &str = "outbox-relay";
/// How long its lease lasts: so that a dead one is missed soon.
pub const LEASE: Duration = Duration::from_millis(1_500);

/// A whole system at work: databases and topics of its own, a process of each program, and a relay.
///
/// Everything ends when it is dropped, or when the test process ends, however that happens. Logs are below
/// [`dir`](Self::dir); they stay if there is a file `keep` beside them.
#[derive(Debug)]
pub struct System {
    programs: Vec<Program>,
    databases: BTreeMap<&'static str, Database>,
    pools: BTreeMap<&'static str, PgPool>,
    places: BTreeMap<&'static str, String>,
    topics: Vec<String>,
    servers: Addresses,
    prefix: String,
    dir: PathBuf,
    // The last field, so that it is dropped last: it removes what is left.
    _guardian: Guardian,
}

impl System {
    /// Builds the programs with their fault points, makes databases and topics, and starts everything.
    ///
    /// # Errors
    /// If something does not build or does not start.
    pub async fn start(servers: &Addresses, parts: Parts) -> Result<Self> {
        quadrille_process::tls::install_crypto();
        let id = Uuid::new_v4().simple().to_string();
        let prefix = format!("p{}-", &id[..8]);
        let dir = std::env::temp_dir().join(format!("quadrille-proof-{}", &id[..8]));
        let binaries = dir.join("bin");
        for needed in [dir.join("pids"), binaries.clone()] {
            std::fs::create_dir_all(&needed).with_context(|| format!("create {}", needed.display()))?;
        }
        let guardian = Guardian::watch(&dir, false)?;
        let names = parts.binaries().chain([RELAY]).collect();
        let built = tokio::task::block_in_place(|| programs::built(&parts.workspace, &names))?;
        let mut system = Self {
            programs: Vec::new(),
            databases: BTreeMap::new(),
            pools: BTreeMap::new(),
            places: BTreeMap::new(),
            topics: Vec::new(),
            servers: servers.clone(),
            prefix,
            dir,
            _guardian: guardian,
        };
        let mut ports = Ports::default();
        for part in &parts.programs {
            let port = ports.next()?;
            system.places.insert(part.name, format!("127.0.0.1:{port}"));
            if part.has_database {
                let name = format!("{}{}", system.prefix, part.name);
                let database = Database::create(&servers.postgres_admin_url, part.name, name).await?;
                system.databases.insert(part.name, database);
            }
        }
        system.topics = topics::create(&servers.kafka_brokers, &system.prefix, &parts.topics).await?;

        let binary = |name: &str, like: &str| {
            let path = built
                .get(name)
                .with_context(|| format!("the workspace has no program {name}"))?;
            programs::place(path, &binaries, like)
        };
        for part in &parts.programs {
            let admin = ports.next()?;
            let (from, arguments) = match parts.program {
                Some(program) => (program, vec![part.name]),
                None => (part.name, vec![]),
            };
            let program = Program::new(
                part.name,
                binary(from, part.name)?,
                arguments,
                admin,
                system.environment(part, admin),
                &system.dir,
            );
            program.start_ready().await?;
            system.programs.push(program);
        }
        for name in system.databases.keys() {
            let url = system.admin_url(name);
            witness::post(&url).await?;
            system.pools.insert(name, connect(&url).await?);
        }
        let admin = ports.next()?;
        let relay = Program::new(
            RELAY,
            binary(RELAY, RELAY)?,
            vec!["run"],
            admin,
            system.environment_of_relay(admin),
            &system.dir,
        );
        relay.start_ready().await?;
        system.programs.push(relay);
        Ok(system)
    }

    /// All programs.
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// Where a part listens: `http://127.0.0.1:31234`.
    ///
    /// # Panics
    /// If there is no such part.
    pub fn address(&self, name: &str) -> String {
        format!("http://{}", self.places[name])
    }

    /// A service's database, as the superuser.
    ///
    /// # Panics
    /// If there is no such service.
    pub fn database(&self, name: &str) -> &PgPool {
        &self.pools[name]
    }

    /// The databases with the URLs of a superuser.
    pub fn databases(&self) -> impl Iterator<Item = (String, String)> {
        let urls = self.databases.keys().map(|name| (*name, self.admin_url(name)));
        urls.map(|(name, url)| (name.to_owned(), url))
    }

    /// Full names of the topics.
    pub fn topics(&self) -> &[String] {
        &self.topics
    }

    /// Bootstrap servers.
    pub fn brokers(&self) -> &str {
        &self.servers.kafka_brokers
    }

    /// Where logs are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A database for the superuser.
    pub(crate) fn admin_url(&self, name: &str) -> String {
        let admin = &self.servers.postgres_admin_url;
        let (server, _) = admin.rsplit_once('/').unwrap_or((admin, ""));
        format!("{server}/{}{name}", self.prefix)
    }

    fn environment(&self, part: &Part, admin: u16) -> BTreeMap<String, String> {
        let mut own = vec![
            ("ADMIN_LISTEN", format!("127.0.0.1:{admin}")),
            // A call that nobody finishes is taken over within seconds.
            ("EFFECTS_LEASE_MARGIN_MS", "500".to_owned()),
        ];
        if let Some(database) = self.databases.get(part.name) {
            own.push(("DATABASE_URL", database.url("")));
            own.push(("MIGRATE_DATABASE_URL", database.url("_migrate")));
        }
        let settings = part.settings.iter().map(|(key, value)| {
            let filled = self.places.iter().fold(value.clone(), |value, (name, place)| {
                value.replace(&format!("{{{name}}}"), place)
            });
            (*key, filled)
        });
        own.extend(settings);
        let prefix = part.name.to_ascii_uppercase();
        let own = own
            .into_iter()
            .map(|(key, value)| (format!("{prefix}_{key}"), value));
        // Not among its own settings: one that is not read there is taken for a typing mistake.
        let place = ("QUADRILLE_LISTEN".to_owned(), self.places[part.name].clone());
        let shared = self.shared(part.name).into_iter();
        shared.chain([place]).chain(own).collect()
    }

    fn environment_of_relay(&self, admin: u16) -> BTreeMap<String, String> {
        let sources: Vec<String> = self
            .databases
            .iter()
            .map(|(name, database)| format!("{name}={}", database.url("_relay")))
            .collect();
        let own = [
            ("RELAY_ADMIN_LISTEN", format!("127.0.0.1:{admin}")),
            ("RELAY_SOURCES", sources.join(",")),
            ("RELAY_LEASE_MS", LEASE.as_millis().to_string()),
        ];
        let own = own.map(|(key, value)| (key.to_owned(), value));
        self.shared(RELAY).into_iter().chain(own).collect()
    }

    /// What every program is told.
    fn shared(&self, instance: &str) -> BTreeMap<String, String> {
        [
            ("QUADRILLE_KAFKA_BROKERS", self.servers.kafka_brokers.clone()),
            ("QUADRILLE_PREFIX", self.prefix.clone()),
            ("QUADRILLE_INSTANCE", instance.to_owned()),
            ("QUADRILLE_SHUTDOWN_GRACE_MS", "6000".to_owned()),
            ("QUADRILLE_LOG", "info".to_owned()),
            // So that a killed process is missed soon.
            ("QUADRILLE_KAFKA_SESSION_TIMEOUT_MS", "3000".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

/// Ports that nobody listens on, each handed out once: whoever gets one does not listen on it yet.
#[derive(Default)]
struct Ports(BTreeSet<u16>);

impl Ports {
    fn next(&mut self) -> Result<u16> {
        loop {
            let [port] = free_ports()?;
            if self.0.insert(port) {
                return Ok(port);
            }
        }
    }
}
