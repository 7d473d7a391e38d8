use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use crate::account::{Account, reachable};
use crate::artifacts::{Artifacts, remove_dir, require};
use crate::build::Programs;
use crate::checkout::{Checkout, lock, make_dir};
use crate::compose::{self, visibly};
use crate::daemon::Daemon;
use crate::kafka::{Kafka, KafkaSettings};
use crate::parts::{Part, Placement, Way, Wishes};
use crate::ports::{self, Ports, offset};
use crate::postgres::{Postgres, PostgresSettings};
use crate::redis::Redis;
use crate::secrets::Secrets;
use crate::services::{SERVICES, Service, Surroundings};
use crate::{StackError, probe};

const SERVICE_START_LIMIT: Duration = Duration::from_secs(60);
/// Longer than the services' own bound (`SHUTDOWN_GRACE_MS`), so that it is theirs that counts.
const SERVICE_STOP_GRACE: Duration = Duration::from_secs(25);
const SERVER_STOP_GRACE: Duration = Duration::from_secs(30);
const SUPERUSER: &str = "postgres";

/// The stack of one checkout.
#[derive(Debug)]
pub struct LocalStack {
    checkout: Checkout,
    ports: Ports,
    secrets: Secrets,
    placement: Placement,
    /// Held while something is started or stopped, so that two of us do not do it at the same time.
    _lock: Option<File>,
}

impl LocalStack {
    /// Chooses ports and ways, or takes those of the last start; starts nothing.
    ///
    /// # Errors
    /// If a setting is wrong or a file of the last start cannot be understood.
    pub fn prepare(wishes: Wishes) -> Result<Self, StackError> {
        let checkout = Checkout::find()?;
        for dir in ["pids", "logs", "data"] {
            make_dir(&checkout.state().join(dir))?;
        }
        let held = lock(&checkout.state().join("lock"), "local-stack")?;
        let ports = Ports::choose(&checkout, !running(&checkout).is_empty())?;
        let secrets = Secrets::keep(&checkout)?;
        let placement = Placement::choose(&checkout, ports, wishes)?;
        compose::write_environment(&checkout, ports, &secrets)?;
        Ok(Self {
            checkout,
            ports,
            secrets,
            placement,
            _lock: Some(held),
        })
    }

    /// The stack of the last start, to look at it or to change one part of it.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] if there was none.
    pub fn kept() -> Result<Self, StackError> {
        let checkout = Checkout::find()?;
        let parts = (
            Ports::kept(&checkout)?,
            Secrets::kept(&checkout)?,
            Placement::kept(&checkout)?,
        );
        let (Some(ports), Some(secrets), Some(placement)) = parts else {
            return Err(StackError::Unavailable(
                "there is no stack in this checkout; `up` makes one".to_owned(),
            ));
        };
        Ok(Self {
            checkout,
            ports,
            secrets,
            placement,
            _lock: None,
        })
    }

    /// Starts the servers that are ours and do not run yet, all at the same time, and waits until each of them answers.
    ///
    /// # Errors
    /// What is missing on this machine, or which server did not come up.
    pub fn start_servers(&self) -> Result<(), StackError> {
        for part in self.placement.all(Way::Given) {
            let address = host_and_port(self.placement.given(part).unwrap_or_default());
            eprintln!("  {}: taken from the environment ({address})", part.name());
            if let (Part::Postgres | Part::Kafka, Err(reason)) = (part, part.probe(&address)) {
                return Err(StackError::Unavailable(format!(
                    "{} at {address}: {reason}",
                    part.name()
                )));
            }
        }
        let containers: Vec<Part> = self.placement.all(Way::Compose).collect();
        if !containers.is_empty() {
            compose::up(&self.checkout, self.ports, &containers)?;
        }
        let native: Vec<Part> = self.placement.all(Way::Native).collect();
        // Fetched once, before threads would do it at the same time.
        if native
            .iter()
            .any(|part| matches!(part, Part::Postgres | Part::Kafka))
        {
            Artifacts::fetch(&self.checkout, Account::for_postgres()?.as_ref())?;
        }
        std::thread::scope(|scope| {
            let starts: Vec<_> = native
                .iter()
                .map(|&part| scope.spawn(move || self.start_native(part)))
                .collect();
            let results = starts.into_iter().map(|start| {
                start
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            // All of them end before the first error is told.
            results.collect::<Vec<_>>().into_iter().collect()
        })
    }

    /// Starts one server that is a process of this machine.
    ///
    /// # Errors
    /// If its port is taken, or it does not come up.
    pub fn start_native(&self, part: Part) -> Result<(), StackError> {
        let daemon = self.daemon(part.name());
        let port = self.ports.at(part.offset());
        let runs = daemon.pid().is_some();
        if !runs && !ports::is_free(port) {
            return Err(StackError::Unavailable(format!(
                "port {port}, which is {}'s, is taken by another program; end that program, or set {} to another \
                 base (such as {})",
                part.name(),
                ports::BASE_VARIABLE,
                self.ports.base().saturating_add(100)
            )));
        }
        let begin = std::time::Instant::now();
        match part {
            Part::Postgres => self.postgres()?.start()?,
            Part::Kafka => self.kafka()?.start()?,
            Part::Redis => self.redis().start()?,
            Part::Jaeger | Part::Kafdrop => return Err(StackError::Unavailable(part.how_to_get(self.ports))),
        }
        match runs {
            true => eprintln!("  {}: runs already", part.name()),
            false => eprintln!(
                "  {}: started in {:.1?} on port {port}",
                part.name(),
                begin.elapsed()
            ),
        }
        Ok(())
    }

    /// Compiles the services and `sagactl`, as far as they are in this workspace.
    ///
    /// # Errors
    /// If one does not compile.
    pub fn build(&self) -> Result<Programs, StackError> {
        require(&self.checkout, &["build"])?;
        let programs = Programs::find(&self.checkout, self.placement.release)?;
        let wanted: Vec<&str> = SERVICES
            .iter()
            .map(|service| service.name)
            .chain(["sagactl"])
            .collect();
        let there: Vec<&str> = wanted.iter().copied().filter(|name| programs.has(name)).collect();
        for name in wanted.iter().filter(|name| !there.contains(name)) {
            eprintln!("  {name}: skipped, no crate of this workspace has such a program");
        }
        if !there.is_empty() {
            programs.build(&self.checkout, &there)?;
        }
        Ok(programs)
    }

    /// Makes databases, roles, tables and topics; harmless if they are there.
    ///
    /// # Errors
    /// If `sagactl migrate` fails.
    pub fn migrate(&self, programs: &Programs) -> Result<(), StackError> {
        if !programs.has("sagactl") {
            return Ok(());
        }
        let mut command = Command::new(programs.path("sagactl"));
        command
            .arg("migrate")
            .arg("--admin-url")
            .arg(self.postgres_admin_url())
            .arg("--kafka-brokers")
            .arg(self.kafka_brokers())
            .arg("--secrets")
            .arg(Secrets::path(&self.checkout))
            .current_dir(self.checkout.root());
        visibly("make databases and topics", &mut command)
    }

    /// Starts the services that do not run, restarts those whose program is newer than their process, and waits until
    /// each of them is ready.
    ///
    /// # Errors
    /// The first service that did not come up; the others run.
    pub fn start_services(&self, programs: &Programs) -> Result<(), StackError> {
        let there: Vec<&Service> = SERVICES
            .iter()
            .filter(|service| programs.has(service.name))
            .collect();
        for service in &there {
            if self.is_outdated(service, programs) {
                eprintln!("  {}: rebuilt, restarting it", service.name);
                self.stop(service.name)?;
            }
        }
        for service in &there {
            self.spawn(service, programs)?;
        }
        let results: Vec<_> = there.iter().map(|service| self.wait_ready(service)).collect();
        results.into_iter().collect()
    }

    /// Starts one service and waits until it is ready. Harmless if it runs.
    ///
    /// # Errors
    /// If its program has not been built, or it does not come up.
    pub fn start_service(&self, service: &Service) -> Result<(), StackError> {
        let programs = Programs::find(&self.checkout, self.placement.release)?;
        self.spawn(service, &programs)?;
        self.wait_ready(service)
    }

    fn spawn(&self, service: &Service, programs: &Programs) -> Result<(), StackError> {
        let daemon = self.daemon(service.name);
        if daemon.pid().is_some() {
            return Ok(());
        }
        let program = programs.path(service.name);
        if !program.is_file() {
            let message = format!(
                "{} has not been built: {} is not there; `up` builds it",
                service.name,
                program.display()
            );
            return Err(StackError::Unavailable(message));
        }
        let mut command = Command::new(program);
        for (key, _) in std::env::vars_os() {
            if key.to_str().is_some_and(|key| is_for_others(key, service)) {
                command.env_remove(key);
            }
        }
        let (admin_url, brokers, otlp) = (
            self.postgres_admin_url(),
            self.kafka_brokers(),
            self.otlp_endpoint(),
        );
        command.envs(service.environment(&self.surroundings(&admin_url, &brokers, otlp.as_deref())));
        daemon.spawn(command.current_dir(self.checkout.root()))
    }

    fn wait_ready(&self, service: &Service) -> Result<(), StackError> {
        let address = self.ports.address(service.admin);
        self.daemon(service.name)
            .wait_ready(SERVICE_START_LIMIT, || probe::http(&address, "/ready"))?;
        eprintln!("  {}: ready", service.name);
        Ok(())
    }

    fn is_outdated(&self, service: &Service, programs: &Programs) -> bool {
        let modified = |path: PathBuf| -> Option<SystemTime> { fs::metadata(path).ok()?.modified().ok() };
        let started = modified(self.pid_file(service.name));
        self.daemon(service.name).pid().is_some() && modified(programs.path(service.name)) > started
    }

    /// Stops one process of ours, service or server. Harmless if it does not run.
    ///
    /// # Errors
    /// If even SIGKILL does not remove it.
    pub fn stop(&self, name: &str) -> Result<(), StackError> {
        stop(&self.checkout, name)
    }

    /// Sends a signal to one process of ours; with SIGKILL, waits until it is gone. Says whether it ran.
    ///
    /// # Errors
    /// If a killed process is still there after ten seconds.
    pub fn kill(&self, name: &str, signal: Signal) -> Result<bool, StackError> {
        let daemon = self.daemon(name);
        let ran = daemon.pid().is_some();
        match signal {
            // Its backends as well: the next start waits for their shared memory.
            Signal::KILL if name == Part::Postgres.name() => self.postgres()?.kill()?,
            Signal::KILL => daemon.stop(Signal::KILL, Duration::ZERO)?,
            other => drop(daemon.signal(other)),
        }
        Ok(ran)
    }

    /// A process of ours, running or not.
    pub fn daemon(&self, name: &str) -> Daemon {
        daemon(&self.checkout, name)
    }

    /// The checkout that this stack belongs to.
    pub fn checkout(&self) -> &Checkout {
        &self.checkout
    }

    /// Its ports.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Its passwords.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// How each part came to be here.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The superuser's URL, with its password.
    pub fn postgres_admin_url(&self) -> String {
        self.placement.given(Part::Postgres).map_or_else(
            || {
                let address = self.ports.address(offset::POSTGRES);
                format!(
                    "postgres://{SUPERUSER}:{}@{address}/postgres",
                    self.secrets.postgres_superuser
                )
            },
            str::to_owned,
        )
    }

    /// Bootstrap servers.
    pub fn kafka_brokers(&self) -> String {
        let ours = || self.ports.address(offset::KAFKA);
        self.placement.given(Part::Kafka).map_or_else(ours, str::to_owned)
    }

    /// Where spans go, if anything takes them.
    pub fn otlp_endpoint(&self) -> Option<String> {
        match self.placement.way(Part::Jaeger) {
            Way::Given => self.placement.given(Part::Jaeger).map(str::to_owned),
            Way::Compose | Way::Native => Some(format!("http://{}", self.ports.address(offset::OTLP))),
            Way::Absent => None,
        }
    }

    /// Redis, with its password, if it is here.
    pub fn redis_url(&self) -> Option<String> {
        match self.placement.way(Part::Redis) {
            Way::Given => self.placement.given(Part::Redis).map(str::to_owned),
            Way::Compose | Way::Native => Some(self.redis().url()),
            Way::Absent => None,
        }
    }

    /// What an operator's tools want to know: all addresses, and where the passwords are.
    pub fn environment(&self) -> Vec<(String, String)> {
        let (admin_url, brokers, otlp) = (
            self.postgres_admin_url(),
            self.kafka_brokers(),
            self.otlp_endpoint(),
        );
        let around = self.surroundings(&admin_url, &brokers, otlp.as_deref());
        let mut environment = vec![
            ("QUADRILLE_POSTGRES_URL".to_owned(), admin_url.clone()),
            ("QUADRILLE_KAFKA_BROKERS".to_owned(), brokers.clone()),
            (
                "QUADRILLE_SECRETS".to_owned(),
                Secrets::path(&self.checkout).display().to_string(),
            ),
        ];
        let optional = [
            ("QUADRILLE_REDIS_URL", self.redis_url()),
            ("QUADRILLE_OTLP_ENDPOINT", otlp.clone()),
        ];
        environment.extend(
            optional
                .into_iter()
                .filter_map(|(key, value)| Some((key.to_owned(), value?))),
        );
        for service in SERVICES {
            let mut own = |key: &str, value| {
                environment.push((format!("QUADRILLE_{}_{key}", service.key_prefix), value))
            };
            if let Some(grpc) = service.grpc {
                own("GRPC", format!("http://{}", self.ports.address(grpc)));
            }
            own("ADMIN", format!("http://{}", self.ports.address(service.admin)));
            if let Some(database) = service.database.filter(|_| service.grpc.is_some()) {
                own("OPS_URL", around.url(&format!("{database}_ops"), database));
            }
        }
        environment
    }

    fn surroundings<'a>(
        &'a self,
        admin_url: &'a str,
        brokers: &'a str,
        otlp: Option<&'a str>,
    ) -> Surroundings<'a> {
        Surroundings {
            ports: self.ports,
            secrets: &self.secrets,
            postgres_admin_url: admin_url,
            kafka_brokers: brokers,
            otlp_endpoint: otlp,
        }
    }

    fn pid_file(&self, name: &str) -> PathBuf {
        self.checkout.state().join("pids").join(name)
    }

    fn postgres(&self) -> Result<Postgres, StackError> {
        let account = Account::for_postgres()?;
        let artifacts = Artifacts::fetch(&self.checkout, account.as_ref())?;
        let settings = PostgresSettings {
            port: self.ports.at(offset::POSTGRES),
            data: reachable(account.as_ref(), &self.checkout.state().join("data"))?.join("postgres"),
            password: self.secrets.postgres_superuser.clone(),
            max_connections: 300,
            shared_buffers_mb: 256,
            fsync: true,
        };
        Ok(Postgres::new(
            settings,
            &artifacts,
            account,
            self.daemon(Part::Postgres.name()),
        ))
    }

    fn kafka(&self) -> Result<Kafka, StackError> {
        let artifacts = Artifacts::fetch(&self.checkout, Account::for_postgres()?.as_ref())?;
        let settings = KafkaSettings {
            port: self.ports.at(offset::KAFKA),
            controller_port: self.ports.at(offset::KAFKA_CONTROLLER),
            data: self.checkout.state().join("data/kafka"),
            heap_mb: 1024,
            short_lived: false,
        };
        Ok(Kafka::new(settings, &artifacts, self.daemon(Part::Kafka.name())))
    }

    fn redis(&self) -> Redis {
        let data = self.checkout.state().join("data/redis");
        Redis::new(
            self.ports.at(offset::REDIS),
            data,
            self.secrets.redis.clone(),
            self.daemon(Part::Redis.name()),
        )
    }
}

/// Stops everything that was started in this checkout: the services at the same time, then the servers.
///
/// # Errors
/// The first process that could not be removed; all others have been stopped.
pub fn down() -> Result<(), StackError> {
    let checkout = Checkout::find()?;
    let Some(_held) = lock_if_used(&checkout)? else {
        eprintln!("  nothing has been started in this checkout");
        return Ok(());
    };
    stop_everything(&checkout, false)
}

/// Stops everything and removes data, passwords, ports and logs. What was fetched stays, and so does whatever is behind
/// an address that was given.
///
/// # Errors
/// If something cannot be stopped or removed.
pub fn reset() -> Result<(), StackError> {
    let checkout = Checkout::find()?;
    let Some(_held) = lock_if_used(&checkout)? else {
        return Ok(());
    };
    stop_everything(&checkout, true)?;
    let state = checkout.state();
    let data = state.join("data");
    let elsewhere = reachable(Account::for_postgres()?.as_ref(), &data)?;
    for dir in [elsewhere, data, state.join("logs"), state.join("pids")] {
        remove_dir(&dir)?;
    }
    for file in ["stack.json", "ports.json", "secrets.json", "compose.env"] {
        match fs::remove_file(state.join(file)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StackError::Io {
                    doing: format!("remove {file}"),
                    source,
                });
            }
            _ => {}
        }
    }
    eprintln!("  data, passwords and logs of this checkout are removed");
    Ok(())
}

fn lock_if_used(checkout: &Checkout) -> Result<Option<File>, StackError> {
    let path = checkout.state().join("lock");
    if path.exists() {
        lock(&path, "local-stack").map(Some)
    } else {
        Ok(None)
    }
}

fn stop_everything(checkout: &Checkout, with_data: bool) -> Result<(), StackError> {
    let names = running(checkout);
    let (servers, services): (Vec<_>, Vec<_>) = names.iter().partition(|name| Part::named(name).is_some());
    let mut result = Ok(());
    for group in [services, servers] {
        let stopped = std::thread::scope(|scope| {
            let stops: Vec<_> = group
                .iter()
                .map(|name| scope.spawn(|| stop(checkout, name)))
                .collect();
            let results = stops.into_iter().map(|stop| {
                stop.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            results.collect::<Vec<_>>().into_iter().collect::<Result<(), _>>()
        });
        result = result.and(stopped);
    }
    let placement = Placement::kept(checkout)?;
    let uses_compose = placement.is_some_and(|placement| placement.all(Way::Compose).next().is_some());
    if let Some(ports) = Ports::kept(checkout)?.filter(|_| uses_compose) {
        result = result.and(compose::down(checkout, ports, with_data));
    }
    if names.is_empty() && !uses_compose {
        eprintln!("  nothing runs");
    }
    result
}

fn stop(checkout: &Checkout, name: &str) -> Result<(), StackError> {
    let (signal, grace) = match Part::named(name) {
        // Fast mode: its default (SIGTERM) waits until every client has gone by itself.
        Some(Part::Postgres) => (Signal::INT, SERVER_STOP_GRACE),
        Some(_) => (Signal::TERM, SERVER_STOP_GRACE),
        None => (Signal::TERM, SERVICE_STOP_GRACE),
    };
    daemon(checkout, name).stop(signal, grace)?;
    eprintln!("  {name}: stopped");
    Ok(())
}

fn daemon(checkout: &Checkout, name: &str) -> Daemon {
    let state = checkout.state();
    Daemon::new(
        name,
        state.join("pids").join(name),
        state.join("logs").join(name).with_extension("log"),
    )
}

/// Names of all processes that were started in this checkout and still run, whatever version of us started them.
fn running(checkout: &Checkout) -> Vec<String> {
    let entries = fs::read_dir(checkout.state().join("pids"));
    let names = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names
        .filter(|name| daemon(checkout, name).pid().is_some())
        .collect();
    names.sort();
    names
}

/// Variables of our own environment that are not for this service: other services' settings, and addresses with the
/// superuser's password.
fn is_for_others(key: &str, service: &Service) -> bool {
    let other = SERVICES.iter().filter(|other| other.name != service.name);
    other
        .map(|other| other.key_prefix)
        .any(|prefix| key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('_')))
        || [Part::Postgres, Part::Redis]
            .iter()
            .any(|part| part.variable() == Some(key))
}

/// What can be connected to, of a URL or of a list of brokers.
pub(crate) fn host_and_port(address: &str) -> String {
    let first = address.split(',').next().unwrap_or(address);
    let rest = first.split_once("://").map_or(first, |(_, rest)| rest);
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split(['/', '?']).next().unwrap_or(host);
    if host.contains(':') || !first.starts_with("postgres") {
        host.to_owned()
    } else {
        format!("{host}:5432")
    }
}
