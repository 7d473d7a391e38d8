use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::account::{Account, reachable};
use crate::artifacts::Artifacts;
use crate::checkout::{Checkout, make_dir};
use crate::daemon::{Daemon, write_whole};
use crate::guardian::Guardian;
use crate::kafka::{Kafka, KafkaDetour, KafkaSettings};
use crate::kafka_connect::{ConnectPrograms, ConnectSettings, KafkaConnect};
use crate::kafka_security::{KafkaSecurity, KafkaUser};
use crate::pgbouncer::{PgBouncer, PoolMode};
use crate::postgres::{Postgres, PostgresSettings, PostgresTls};
use crate::secrets::random_hex;
use crate::tls::Identity;
use crate::{StackError, ports};

/// Names a PostgreSQL for tests: the superuser's URL.
pub const POSTGRES_VARIABLE: &str = "QUADRILLE_TEST_POSTGRES_URL";
/// Names a Kafka for tests: `host:port`.
pub const KAFKA_VARIABLE: &str = "QUADRILLE_TEST_KAFKA_BROKERS";

/// Another process may take a free port before our server does.
const START_ATTEMPTS: usize = 3;

/// Where the servers for tests are.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// `postgres://postgres:…@127.0.0.1:…/postgres`: the superuser, who may create databases and roles.
    pub postgres_admin_url: String,
    /// Bootstrap servers, plaintext.
    pub kafka_brokers: String,
}

/// How a stack for tests differs from the default.
#[derive(Clone, Debug)]
pub struct TestStackOptions {
    /// Whether PostgreSQL waits for the disk. On, unless `QUADRILLE_TEST_FSYNC=off`.
    pub fsync: bool,
    /// Most heap of Kafka's JVM.
    pub kafka_heap_mb: u16,
    /// Kafka's code is compiled quickly rather than well, as suits a server that lives for minutes.
    pub short_lived: bool,
    /// Keeps data and logs when the stack ends (`QUADRILLE_TEST_KEEP=1`), for a look at what happened.
    pub keep_data: bool,
    /// PostgreSQL writes a log that can be decoded, for Debezium.
    pub logical: bool,
    /// Servers that encrypt.
    pub secure: Option<Secure>,
    /// Ports that Kafka sends the clients of further listeners to, one listener for each: for whoever stands between.
    pub kafka_detours: Vec<u16>,
}

/// Servers that encrypt: PostgreSQL lets in nobody who does not, and Kafka has listeners for SSL and for SASL_SSL beside
/// the plain one.
#[derive(Clone, Debug)]
pub struct Secure {
    /// What both servers show.
    pub identity: Identity,
    /// The certificate of who signed that, as PEM.
    pub authority: String,
    /// Who may log in to Kafka.
    pub kafka_users: Vec<KafkaUser>,
}

impl Default for TestStackOptions {
    fn default() -> Self {
        let is = |key, value| env::var(key).is_ok_and(|v| v == value);
        Self {
            fsync: !is("QUADRILLE_TEST_FSYNC", "off"),
            kafka_heap_mb: 512,
            short_lived: true,
            keep_data: is("QUADRILLE_TEST_KEEP", "1"),
            logical: false,
            secure: None,
            kafka_detours: Vec::new(),
        }
    }
}

impl TestStackOptions {
    /// For servers that are measured: set up as those that people work with, whatever is set for tests.
    pub fn for_figures() -> Self {
        Self {
            fsync: true,
            kafka_heap_mb: 1024,
            short_lived: false,
            ..Self::default()
        }
    }
}

/// PostgreSQL and Kafka for tests: on free ports, with data of their own that is removed at the end.
///
/// They end with the process that started them, however it ends: a guardian process waits for that. All calls block
/// until their condition holds (a start takes about three seconds); inside a runtime use `spawn_blocking`.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // What most tests want: one pair of servers for all of them.
/// let servers = local_stack::TestStack::shared()?;
/// println!("{} {}", servers.postgres_admin_url, servers.kafka_brokers);
///
/// // What a test of failures wants: servers that it may kill. Their ports stay the same.
/// let stack = local_stack::TestStack::private()?;
/// stack.postgres().stop_immediately()?;
/// stack.postgres().start()?;
/// stack.kafka().kill()?;
/// stack.kafka().start()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestStack {
    postgres: Postgres,
    kafka: Kafka,
    dir: PathBuf,
    keep_data: bool,
    // The last field, so that it is dropped last: it removes the data.
    _guardian: Guardian,
}

impl TestStack {
    /// The servers that all tests of this process share: those that [`POSTGRES_VARIABLE`] and [`KAFKA_VARIABLE`] name if
    /// both are set (`local-stack with-test-stack` sets them), else a pair that is started by the first call.
    ///
    /// # Errors
    /// Why they could not be started; later calls get the same error.
    pub fn shared() -> Result<&'static Addresses, &'static StackError> {
        static SHARED: OnceLock<Result<(Addresses, Option<TestStack>), StackError>> = OnceLock::new();
        crate::hang::watch();
        let shared = SHARED.get_or_init(|| match Self::given() {
            Some(addresses) => Ok((addresses, None)),
            None => Self::private().map(|stack| (stack.addresses(), Some(stack))),
        });
        shared.as_ref().map(|(addresses, _)| addresses)
    }

    /// The servers that the environment names, if it names both.
    pub fn given() -> Option<Addresses> {
        let variable = |key| env::var(key).ok().filter(|value| !value.is_empty());
        Some(Addresses {
            postgres_admin_url: variable(POSTGRES_VARIABLE)?,
            kafka_brokers: variable(KAFKA_VARIABLE)?,
        })
    }

    /// Servers of one's own, to stop, kill and freeze. They end when the value is dropped.
    ///
    /// # Errors
    /// If something is missing on this machine, or a server does not start.
    pub fn private() -> Result<Self, StackError> {
        Self::with_options(&TestStackOptions::default())
    }

    /// As [`private`](Self::private), with other settings than the default ones.
    ///
    /// # Errors
    /// If something is missing on this machine, or a server does not start.
    pub fn with_options(options: &TestStackOptions) -> Result<Self, StackError> {
        let checkout = Checkout::find()?;
        let account = Account::for_postgres()?;
        let artifacts = Artifacts::fetch(&checkout, account.as_ref())?;
        let mut attempt = 1;
        loop {
            match Self::start(options, &artifacts, account.clone()) {
                Err(error @ StackError::Died { .. }) if attempt < START_ATTEMPTS => {
                    eprintln!("test servers, attempt {attempt} of {START_ATTEMPTS}: {error}");
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn start(
        options: &TestStackOptions,
        artifacts: &Artifacts,
        account: Option<Account>,
    ) -> Result<Self, StackError> {
        let name = format!("quadrille-test-{}", &random_hex()?[..12]);
        let dir = reachable(account.as_ref(), &env::temp_dir())?.join(name);
        let pids = dir.join("pids");
        make_dir(&pids)?;
        let guardian = Guardian::watch(&dir, options.keep_data)?;
        let daemon = |part: &str| daemon(&dir, part);

        let [
            postgres_port,
            kafka_port,
            controller_port,
            ssl_port,
            sasl_ssl_port,
        ] = ports::free()?;
        if let Some(secure) = &options.secure {
            write_whole(&ca_file(&dir), secure.authority.as_bytes())?;
        }
        let postgres = PostgresSettings {
            port: postgres_port,
            data: dir.join("postgres"),
            password: random_hex()?,
            max_connections: 600,
            shared_buffers_mb: 128,
            fsync: options.fsync,
            tls: options.secure.as_ref().map(|secure| PostgresTls {
                identity: secure.identity.clone(),
                ca_file: ca_file(&dir),
            }),
            logical: options.logical,
            follows: None,
        };
        let detour = |advertised: &u16| {
            let [port] = ports::free()?;
            Ok(KafkaDetour {
                port,
                advertised: *advertised,
            })
        };
        let kafka = KafkaSettings {
            detours: options
                .kafka_detours
                .iter()
                .map(detour)
                .collect::<Result<_, StackError>>()?,
            port: kafka_port,
            controller_port,
            joins: None,
            data: dir.join("kafka"),
            heap_mb: options.kafka_heap_mb,
            short_lived: options.short_lived,
            security: options.secure.as_ref().map(|secure| KafkaSecurity {
                ssl_port,
                sasl_ssl_port,
                identity: secure.identity.clone(),
                users: secure.kafka_users.clone(),
            }),
        };
        let stack = Self {
            postgres: Postgres::new(postgres, artifacts, account, daemon("postgres")),
            kafka: Kafka::new(kafka, artifacts, daemon("kafka")),
            dir,
            keep_data: options.keep_data,
            _guardian: guardian,
        };
        std::thread::scope(|scope| {
            let kafka = scope.spawn(|| stack.kafka.start());
            stack.postgres.start()?;
            kafka
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        Ok(stack)
    }

    /// Where the servers are.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            postgres_admin_url: self.postgres.admin_url(),
            kafka_brokers: self.kafka.brokers(),
        }
    }

    /// The database server.
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// A standby of the database server, which runs and follows it. The server is restarted for that. The standby ends
    /// with the stack.
    ///
    /// # Errors
    /// If the server cannot be copied, or one of the two does not start.
    pub fn standby(&self) -> Result<Postgres, StackError> {
        let name = format!("postgres-{}", &random_hex()?[..6]);
        let [port] = ports::free()?;
        let standby = self
            .postgres
            .standby(port, self.dir.join(&name), daemon(&self.dir, &name))?;
        self.postgres.start()?;
        standby.start()?;
        Ok(standby)
    }

    /// A second broker beside the first, which runs and ends with the stack: partitions may have replicas on 1 and 2. It
    /// can be killed and started as the first one; that one controls both, and has to be there. Kafka's own topics have
    /// one replica, on either of the two.
    ///
    /// # Errors
    /// If it does not start.
    pub fn second_broker(&self) -> Result<Kafka, StackError> {
        const NAME: &str = "kafka-2";
        let [port] = ports::free()?;
        let second = self
            .kafka
            .second(port, self.dir.join(NAME), daemon(&self.dir, NAME))?;
        second.start()?;
        Ok(second)
    }

    /// A PgBouncer in front of the database server, where these users (name, password) log in. It ends when the value is
    /// dropped.
    ///
    /// # Errors
    /// If there is no program for it, or it does not start.
    pub fn pgbouncer(&self, mode: PoolMode, users: &[(&str, &str)]) -> Result<PgBouncer, StackError> {
        let name = format!("pgbouncer-{}", &random_hex()?[..6]);
        let [port] = ports::free()?;
        let server = self.postgres.address();
        PgBouncer::start(
            (&server, port),
            mode,
            users,
            &self.dir.join(&name),
            self.postgres.account(),
            daemon(&self.dir, &name),
        )
    }

    /// A worker of Kafka Connect beside the broker, with one connector. It ends when the value is dropped.
    ///
    /// # Errors
    /// If it does not start, or its connector does not run.
    pub fn kafka_connect(
        &self,
        programs: &ConnectPrograms,
        settings: &ConnectSettings,
    ) -> Result<KafkaConnect, StackError> {
        let name = format!("connect-{}", &random_hex()?[..6]);
        let [port] = ports::free()?;
        KafkaConnect::start(
            programs,
            settings,
            &self.kafka.brokers(),
            port,
            &self.dir.join(&name),
            daemon(&self.dir, &name),
        )
    }

    /// What clients of servers that encrypt have to trust; there is no such file if they do not.
    pub fn ca_file(&self) -> PathBuf {
        ca_file(&self.dir)
    }

    /// The broker.
    pub fn kafka(&self) -> &Kafka {
        &self.kafka
    }

    /// Data and logs, while the stack lives.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for TestStack {
    fn drop(&mut self) {
        // As their parent we have to reap them; the guardian does the rest.
        for result in [self.kafka.kill(), self.postgres.stop_immediately()] {
            if let Err(error) = result {
                eprintln!("test servers: {error}");
            }
        }
        if self.keep_data {
            eprintln!("test servers: data and logs are kept in {}", self.dir.display());
        }
    }
}

fn daemon(dir: &Path, name: &str) -> Daemon {
    let log = dir.join(name).with_extension("log");
    Daemon::new(name, dir.join("pids").join(name), log)
}

fn ca_file(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}
