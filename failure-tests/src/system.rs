use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use local_stack::{Addresses, Guardian, free_ports};
use quadrille_process::kafka::KafkaSettings;
use saga_proof::stage::{RELAY, programs};
use sagactl::migrate::{self, DATABASES, Passwords, Target, topics};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::environment::{Around, OUTBOXES, PASSWORD, Places};
pub use crate::environment::{Detours, Peer, Settings};
use crate::{Program, witness};

/// How a shop differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct SystemOptions {
    /// The superuser's URL of the server that has the provider's books, if it is not ours.
    pub provider_postgres: Option<String>,
    /// A folder with programs that are finished, for a shop that is to be measured and not to be broken: they have no
    /// fault points, say no more than warnings, and nobody takes notes of what is committed.
    pub finished: Option<PathBuf>,
    /// Who reaches whom by another way.
    pub detours: Detours,
    /// What programs are told beyond the usual.
    pub settings: Settings,
    /// Nobody takes notes of what is committed: the caller posts a witness of its own before the shop opens.
    pub unwitnessed: bool,
}

/// A whole shop: databases and topics with a prefix of its own, and one process of each program.
///
/// Everything ends when it is dropped, or when the test process ends, however that happens. Logs are below
/// [`dir`](Self::dir); they stay if [`keep`](Self::keep) was called.
#[derive(Debug)]
pub struct System {
    /// In the order in which they start.
    programs: Vec<Program>,
    around: Around,
    dir: PathBuf,
    binaries: PathBuf,
    others: AtomicU32,
    // The last field, so that it is dropped last: it removes what is left.
    _guardian: Guardian,
}

/// The programs of a shop.
pub const PROGRAMS: &[&str] = &[
    "payment-sandbox",
    "product",
    "order",
    "inventory",
    "payment",
    "outbox-relay",
];

impl System {
    /// Makes databases and topics, and starts everything.
    ///
    /// # Errors
    /// If something is missing or does not start.
    pub async fn start(servers: &Addresses, options: &SystemOptions) -> Result<Self> {
        let system = Self::prepare(servers, options).await?;
        system.restore().await?;
        Ok(system)
    }

    /// Makes databases and topics, and starts nothing yet: [`restore`](Self::restore) does.
    ///
    /// # Errors
    /// If something is missing.
    pub async fn prepare(servers: &Addresses, options: &SystemOptions) -> Result<Self> {
        quadrille_process::tls::install_crypto();
        let id = Uuid::new_v4().simple().to_string();
        let prefix = format!("f{}-", &id[..8]);
        let dir = std::env::temp_dir().join(format!("quadrille-failures-{}", &id[..8]));
        let binaries = dir.join("bin");
        for needed in [dir.join("pids"), binaries.clone()] {
            std::fs::create_dir_all(&needed).with_context(|| format!("create {}", needed.display()))?;
        }
        let guardian = Guardian::watch(&dir, false)?;
        let paths = tokio::task::block_in_place(|| {
            let names = PROGRAMS.iter().chain(&["sagactl"]).copied().collect();
            let place = |name: &&str| {
                let from = match &options.finished {
                    Some(folder) => folder.join(name),
                    None => programs::built(Path::new(env!("CARGO_MANIFEST_DIR")), &names)?
                        .get(*name)
                        .with_context(|| format!("there is no program {name}"))?
                        .clone(),
                };
                programs::place(&from, &binaries, name)
            };
            PROGRAMS
                .iter()
                .chain(&["sagactl"])
                .map(place)
                .collect::<Result<Vec<_>>>()
        })?;

        let [product, order, inventory, payment, webhook, sandbox] = free_ports()?;
        let admins: [u16; 6] = free_ports()?;
        // Datagrams have ports of their own, so that of the relay's admin API is free for them.
        let mut doors = PROGRAMS.iter().zip(admins);
        let (_, doorbell) = doors.find(|(name, _)| **name == RELAY).context("a relay")?;
        let places = Places {
            product,
            order,
            inventory,
            payment,
            webhook,
            sandbox,
        };
        let around = Around {
            provider_postgres: options
                .provider_postgres
                .clone()
                .unwrap_or_else(|| servers.postgres_admin_url.clone()),
            servers: servers.clone(),
            prefix,
            places,
            doorbell,
            log: if options.finished.is_some() {
                "warn"
            } else {
                "info"
            },
            detours: options.detours.clone(),
            settings: options.settings.clone(),
        };
        make(&around).await?;
        if options.finished.is_none() && !options.unwitnessed {
            for name in OUTBOXES {
                witness::post(&around.admin_url(name)).await?;
            }
        }

        let grpc = [sandbox, product, order, inventory, payment, 0];
        let programs =
            PROGRAMS
                .iter()
                .zip(paths)
                .zip(grpc)
                .zip(admins)
                .map(|(((name, path), grpc), admin)| {
                    let environment = around.of(name, name, grpc, admin);
                    Program::new(name, path, arguments(name), admin, environment, &dir)
                });
        Ok(Self {
            programs: programs.collect(),
            around,
            dir,
            binaries,
            others: AtomicU32::new(1),
            _guardian: guardian,
        })
    }

    /// One of [`PROGRAMS`].
    ///
    /// # Panics
    /// If there is no such program.
    pub fn program(&self, name: &str) -> &Program {
        let found = self.programs.iter().find(|program| program.name == name);
        found.unwrap_or_else(|| panic!("there is no program {name}"))
    }

    /// Another process of a program, on ports of its own, under another instance name or the same one. It is
    /// not started, and ends when it is dropped.
    ///
    /// # Errors
    /// If there are no free ports.
    pub fn another(&self, name: &str, instance: &str) -> Result<Program> {
        self.another_of(&self.binaries, name, instance)
    }

    /// The same of another build, whose programs are in `folder`. It may bring the service's database up to date.
    ///
    /// # Errors
    /// If there are no free ports.
    pub fn of_another_build(&self, folder: &Path, name: &str, instance: &str) -> Result<Program> {
        let mut program = self.another_of(folder, name, instance)?;
        let owner = self.around.url(&format!("{name}_migrate"), name);
        program.tell(
            &format!("{}_MIGRATE_DATABASE_URL", name.to_ascii_uppercase()),
            owner,
        );
        Ok(program)
    }

    fn another_of(&self, folder: &Path, name: &str, instance: &str) -> Result<Program> {
        let number = self.others.fetch_add(1, Ordering::Relaxed) + 1;
        let [grpc, admin, webhook] = free_ports()?;
        let mut environment = self.around.of(name, instance, grpc, admin);
        if name == "payment" {
            // The provider knows one address; the second process listens where nobody calls.
            environment.insert(
                "PAYMENT_WEBHOOK_LISTEN".to_owned(),
                format!("127.0.0.1:{webhook}"),
            );
        }
        let known_as = format!("{name}-{number}");
        Ok(Program::new(
            &known_as,
            folder.join(name),
            arguments(name),
            admin,
            environment,
            &self.dir,
        ))
    }

    /// Starts what does not run, without any fault armed, and waits until everything is ready.
    ///
    /// # Errors
    /// If a program does not start.
    pub async fn restore(&self) -> Result<()> {
        for program in self.programs.iter().filter(|program| !program.is_running()) {
            program.start()?;
        }
        for program in &self.programs {
            program.ready().await?;
        }
        Ok(())
    }

    /// Calls `sagactl` as an operator of this shop, and returns its exit code with what it wrote.
    ///
    /// # Errors
    /// If it cannot be started, or is ended by a signal.
    pub async fn sagactl(&self, arguments: &[&str]) -> Result<(i32, String, String)> {
        let mut command = self.operator(arguments);
        let output = command.output().await.context("call sagactl")?;
        let code = output.status.code().context("sagactl was ended by a signal")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((code, text(&output.stdout), text(&output.stderr)))
    }

    /// A call of `sagactl` as an operator of this shop, to be started. It ends when it is dropped.
    pub fn operator(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(self.binaries.join("sagactl"));
        command
            .env_clear()
            .envs(self.around.of_operator())
            .current_dir("/")
            .args(arguments)
            .kill_on_drop(true);
        command
    }

    /// A database, as the superuser.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn database(&self, name: &str) -> Result<PgPool> {
        Ok(PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(Duration::from_secs(60))
            .connect(&self.around.admin_url(name))
            .await?)
    }

    /// The databases that have an outbox, with the URLs of a superuser.
    pub fn outbox_urls(&self) -> impl Iterator<Item = (String, String)> {
        let url = |name: &&str| ((*name).to_owned(), self.around.admin_url(name));
        OUTBOXES.iter().map(url)
    }

    /// The databases that have an outbox.
    pub fn outboxes(&self) -> &'static [&'static str] {
        OUTBOXES
    }

    /// Where a service's gRPC server or the provider's API is.
    ///
    /// # Panics
    /// If the program has none.
    pub fn address(&self, name: &str) -> String {
        let Places {
            product,
            order,
            inventory,
            payment,
            webhook,
            sandbox,
        } = self.around.places;
        let port = match name {
            "product" => product,
            "order" => order,
            "inventory" => inventory,
            "payment" => payment,
            "payment-sandbox" => sandbox,
            "webhook" => webhook,
            _ => panic!("{name} has no address"),
        };
        format!("http://127.0.0.1:{port}")
    }

    /// Bootstrap servers.
    pub fn brokers(&self) -> &str {
        &self.around.servers.kafka_brokers
    }

    /// What the names of topics begin with.
    pub fn prefix(&self) -> &str {
        &self.around.prefix
    }

    /// The full name of a topic.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.around.prefix)
    }

    /// Where faults of a program are put in, and come out when they have happened.
    pub fn drawer(&self, program: &str) -> PathBuf {
        self.program(program).drawer().to_owned()
    }

    /// All of [`PROGRAMS`].
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// Where logs are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the programs are.
    pub fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// Logs stay, for a look at what happened.
    pub fn keep(&self) {
        eprintln!("logs of the shop are kept in {}", self.dir.display());
        if let Err(error) = std::fs::write(self.dir.join("keep"), "") {
            eprintln!("they will be removed after all: {error}");
        }
    }
}

async fn make(around: &Around) -> Result<()> {
    let quiet = |_: &str| {};
    let (provider, ours): (Vec<_>, Vec<_>) = DATABASES
        .iter()
        .copied()
        .partition(|database| database.name == "sandbox");
    for (server, databases) in [
        (&around.servers.postgres_admin_url, ours),
        (&around.provider_postgres, provider),
    ] {
        let target = Target {
            admin_url: server.parse()?,
            prefix: around.prefix.clone(),
            passwords: Passwords::same(PASSWORD),
        };
        migrate::databases(&target, &databases, &quiet).await?;
    }
    let kafka = KafkaSettings::plaintext(&around.servers.kafka_brokers, &around.prefix);
    let wanted = topics::wanted(quadrille_contracts::TOPICS, &around.prefix);
    topics::create(&kafka, &wanted, &quiet).await?;
    Ok(())
}

fn arguments(name: &str) -> Vec<&'static str> {
    if name == "outbox-relay" {
        vec!["run"]
    } else {
        Vec::new()
    }
}
