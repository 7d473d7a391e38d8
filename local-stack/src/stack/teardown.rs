use std::fs::{self, File};
use std::time::Duration;

use rustix::process::Signal;

use crate::StackError;
use crate::account::{Account, reachable};
use crate::artifacts::remove_dir;
use crate::checkout::{Checkout, lock};
use crate::compose;
use crate::parts::{Part, Placement, Way};
use crate::ports::Ports;
use crate::stack::{LocalStack, daemon, running};

/// Longer than the services' own bound (`SHUTDOWN_GRACE_MS`), so that it is theirs that counts.
const SERVICE_GRACE: Duration = Duration::from_secs(25);
const SERVER_GRACE: Duration = Duration::from_secs(30);

impl LocalStack {
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
        Some(Part::Postgres) => (Signal::INT, SERVER_GRACE),
        Some(_) => (Signal::TERM, SERVER_GRACE),
        None => (Signal::TERM, SERVICE_GRACE),
    };
    daemon(checkout, name).stop(signal, grace)?;
    eprintln!("  {name}: stopped");
    Ok(())
}
