use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

/// What a part of the process says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", content = "reason", rename_all = "lowercase")]
pub enum Status {
    /// It works.
    Up,
    /// It does not, and why.
    Down(String),
}

/// One named check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Whether the process is unready while this is down.
    pub required: bool,
    /// Its state.
    #[serde(flatten)]
    pub status: Status,
}

/// Everything that `/ready` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether the process takes work.
    pub ready: bool,
    /// Whether it was told to stop.
    pub stopping: bool,
    /// Each check by its name.
    pub checks: BTreeMap<String, Check>,
}

/// The health of one process: a registry that every part of it holds a clone of.
///
/// A *required* check that is down makes the process unready. An *informative* one is only shown: losing
/// the broker does not refuse orders, since that is what an outbox is for.
#[derive(Debug, Clone)]
pub struct Health {
    state: Arc<Mutex<State>>,
    ready: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    checks: BTreeMap<String, Check>,
    stopping: bool,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            state: Arc::default(),
            ready: watch::Sender::new(true),
        }
    }
}

impl Health {
    /// A registry without checks, which is ready.
    pub fn new() -> Health {
        Health::default()
    }

    /// Declares a check that must be up for the process to be ready. It is down until it is set.
    pub fn required(&self, name: &str) {
        self.declare(name, true);
    }

    /// Declares a check that is only shown. It is down until it is set.
    pub fn informative(&self, name: &str) {
        self.declare(name, false);
    }

    /// Says how a part does. A check that was not declared before is required.
    pub fn set(&self, name: &str, status: Status) {
        let mut state = self.lock();
        let required = state.checks.get(name).is_none_or(|check| check.required);
        gauge(name, status == Status::Up);
        let before = state.checks.insert(
            name.to_owned(),
            Check {
                required,
                status: status.clone(),
            },
        );
        self.publish(&state);
        drop(state);
        // Only changes are news; a check that is set every second is not.
        let was_up = before.is_some_and(|check| check.status == Status::Up);
        match &status {
            Status::Up if !was_up => tracing::info!(check = name, "check is up"),
            Status::Down(reason) if was_up => tracing::warn!(check = name, required, reason, "check is down"),
            _ => {}
        }
    }

    /// From now on the process is not ready, whatever its checks say: it was told to stop, and whoever
    /// balances load should look elsewhere.
    pub fn stopping(&self) {
        let mut state = self.lock();
        state.stopping = true;
        self.publish(&state);
    }

    /// Whether the process takes work.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Follows readiness, e.g. into the health service of a gRPC server.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Everything at once.
    pub fn report(&self) -> Report {
        let state = self.lock();
        Report {
            ready: state.ready(),
            stopping: state.stopping,
            checks: state.checks.clone(),
        }
    }

    fn declare(&self, name: &str, required: bool) {
        let mut state = self.lock();
        state.checks.insert(
            name.to_owned(),
            Check {
                required,
                status: Status::Down("not seen yet".to_owned()),
            },
        );
        gauge(name, false);
        self.publish(&state);
    }

    fn publish(&self, state: &State) {
        let ready = state.ready();
        self.ready
            .send_if_modified(|known| std::mem::replace(known, ready) != ready);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ready(&self) -> bool {
        !self.stopping
            && self
                .checks
                .values()
                .all(|check| !check.required || check.status == Status::Up)
    }
}

fn gauge(check: &str, up: bool) {
    metrics::gauge!("quadrille_health", "check" => check.to_owned()).set(if up { 1.0 } else { 0.0 });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_required_makes_it_unready() {
        let health = Health::new();
        assert!(health.is_ready());
        health.required("database");
        health.informative("broker");
        assert!(!health.is_ready());
        health.set("database", Status::Up);
        assert!(health.is_ready());
        health.set("broker", Status::Down("no route".to_owned()));
        assert!(health.is_ready());
        health.set("database", Status::Down("refused".to_owned()));
        assert!(!health.is_ready());
        let json = serde_json::to_value(health.report()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "ready": false,
                "stopping": false,
                "checks": {
                    "broker": {"required": false, "status": "down", "reason": "no route"},
                    "database": {"required": true, "status": "down", "reason": "refused"},
                },
            })
        );
    }

    #[test]
    fn whoever_stops_is_not_ready() {
        let health = Health::new();
        let watched = health.watch();
        health.set("database", Status::Up);
        assert!(!watched.has_changed().unwrap());
        health.stopping();
        assert!(watched.has_changed().unwrap());
        assert!(!*watched.borrow());
    }
}
