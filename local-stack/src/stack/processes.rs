use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::artifacts::require;
use crate::build::Programs;
use crate::compose::{project, visibly};
use crate::daemon::Daemon;
use crate::parts::Part;
use crate::secrets::Secrets;
use crate::services::{SERVICES, Service};
use crate::stack::LocalStack;
use crate::{KAFKA_VARIABLE, POSTGRES_VARIABLE, StackError, probe};

const START_LIMIT: Duration = Duration::from_secs(60);

impl LocalStack {
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
            // Not an argument: a command line is there for everybody on this machine to read.
            .env("SAGACTL_ADMIN_URL", self.postgres_admin_url())
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
        let spawned: Vec<_> = there
            .iter()
            .map(|service| self.spawn(service, programs))
            .collect::<Result<_, _>>()?;
        let ready: Vec<_> = there
            .iter()
            .zip(&spawned)
            .map(|(service, daemon)| self.wait_ready(service, daemon))
            .collect();
        ready.into_iter().collect()
    }

    /// Starts one service and waits until it is ready. Harmless if it runs.
    ///
    /// # Errors
    /// If its program has not been built, or it does not come up.
    pub fn start_service(&self, service: &Service) -> Result<(), StackError> {
        let programs = Programs::find(&self.checkout, self.placement.release)?;
        let daemon = self.spawn(service, &programs)?;
        self.wait_ready(service, &daemon)
    }

    fn spawn(&self, service: &Service, programs: &Programs) -> Result<Daemon, StackError> {
        let daemon = self.daemon(service.name);
        if daemon.pid().is_some() {
            return Ok(daemon);
        }
        // It would end soon, and until then whoever listens there would be taken for it.
        let admin = self.ports.address(service.admin);
        if probe::listens(&admin) {
            return Err(StackError::Unavailable(format!(
                "{name} cannot start, something listens on {admin} already; if that is its container: \
                 docker compose --project-name {} stop {name}",
                project(self.ports),
                name = service.name,
            )));
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
        daemon.spawn(command.current_dir(self.checkout.root()))?;
        Ok(daemon)
    }

    fn wait_ready(&self, service: &Service, daemon: &Daemon) -> Result<(), StackError> {
        let address = self.ports.address(service.admin);
        daemon.wait_ready(START_LIMIT, || probe::http(&address, "/ready"))?;
        eprintln!("  {}: ready", service.name);
        Ok(())
    }

    fn is_outdated(&self, service: &Service, programs: &Programs) -> bool {
        let modified = |path: PathBuf| -> Option<SystemTime> { fs::metadata(path).ok()?.modified().ok() };
        let started = modified(self.pid_file(service.name));
        self.daemon(service.name).pid().is_some() && modified(programs.path(service.name)) > started
    }
}

/// Variables of our own environment that are not for this service: other services' settings, addresses with the
/// superuser's password (those of a test's servers too), and what `environment` tells operators, of this service or of
/// others.
fn is_for_others(key: &str, service: &Service) -> bool {
    let is_of = |key: &str, prefix: &str| key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('_'));
    let for_operators = key
        .strip_prefix("QUADRILLE_")
        .is_some_and(|key| SERVICES.iter().any(|service| is_of(key, service.key_prefix)));
    let other = SERVICES.iter().filter(|other| other.name != service.name);
    for_operators
        || other
            .map(|other| other.key_prefix)
            .any(|prefix| is_of(key, prefix))
        || [Part::Postgres, Part::Redis]
            .iter()
            .any(|part| part.variable() == Some(key))
        || [POSTGRES_VARIABLE, KAFKA_VARIABLE].contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_an_operators_tool_starts_inherits_nothing_of_the_operators() {
        let order = Service::named("order").expect("a service");
        for key in [
            "PAYMENT_PROVIDER_KEY",
            "QUADRILLE_ORDER_OPS_URL",
            "QUADRILLE_PAYMENT_OPS_URL",
            "QUADRILLE_SANDBOX_KEY",
            "QUADRILLE_POSTGRES_URL",
            POSTGRES_VARIABLE,
            KAFKA_VARIABLE,
        ] {
            assert!(is_for_others(key, order), "{key}");
        }
        for key in ["ORDER_LOG", "QUADRILLE_LOG", "QUADRILLE_KAFKA_BROKERS", "PATH"] {
            assert!(!is_for_others(key, order), "{key}");
        }
    }
}
