use std::fs::{self, File};
use std::path::PathBuf;

use crate::StackError;
use crate::account::{Account, set_aside};
use crate::checkout::{Checkout, make_dir};
use crate::compose;
use crate::daemon::Daemon;
use crate::parts::{Part, Placement, Way, Wishes};
use crate::ports::{Ports, offset};
use crate::secrets::Secrets;
use crate::services::{SERVICES, Surroundings};

/// Databases, broker and what else the services stand on.
mod servers;

/// The services' processes.
mod processes;

/// Stopping and removing.
mod teardown;

pub use teardown::{down, reset};

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
        let held = checkout.hold()?;
        let ports = Ports::choose(&checkout, !running(&checkout).is_empty())?;
        // Without an account PostgreSQL cannot be a process here, which whoever starts it is told.
        if Secrets::kept(&checkout)?.is_none()
            && let Ok(account) = Account::for_postgres()
        {
            set_aside(account.as_ref(), &checkout.state().join("data"))?;
        }
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

    /// The stack of the last start, to change one part of it: nobody else starts or stops anything meanwhile.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] if there was none.
    pub fn held() -> Result<Self, StackError> {
        // What is read before the lock is ours may be of the start before.
        let held = Self::kept()?.checkout.hold()?;
        Ok(Self {
            _lock: Some(held),
            ..Self::kept()?
        })
    }

    /// The stack of the last start, to look at it.
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
                    "postgres://postgres:{}@{address}/postgres",
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
            (
                "QUADRILLE_SANDBOX_URL".to_owned(),
                format!("http://{}", self.ports.address(offset::SANDBOX)),
            ),
            (
                "QUADRILLE_SANDBOX_KEY".to_owned(),
                self.secrets.provider_key.clone(),
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
