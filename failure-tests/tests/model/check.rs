//! How a run is checked, and what is said of it.

use std::time::Instant;

use saga_core::choreography::Observed;
use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

use crate::runs::Run;
use crate::shop::{Action, Shop, World};
use crate::story;

/// Where the explorer is served.
pub(crate) const EXPLORER: &str = "localhost:3060";

impl Run {
    /// Checks everything that can happen, the shortest ways first; what was seen.
    pub(crate) fn check(&self) -> Observed {
        let builder = self.shop(true).checker().threads(2);
        let begun = Instant::now();
        let checker = builder
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        self.judge(&checker, begun)
    }

    /// The same with less memory: what waits is a path, not a level of the whole, and no step is noted. So whether an end can be
    /// reached from everywhere is not looked at.
    pub(crate) fn check_deeply(&self) -> Observed {
        let builder = self.shop(false).checker().threads(2);
        let begun = Instant::now();
        let checker = builder
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_dfs()
            .join();
        self.judge(&checker, begun)
    }

    /// Serves stateright's explorer, which shows the states and what may happen next; until it is stopped.
    pub(crate) fn explore(&self) {
        println!("'{}' is at http://{EXPLORER}; stop it with Ctrl-C", self.name);
        self.shop(false).checker().serve(EXPLORER);
    }

    fn judge(&self, checker: &impl Checker<Shop>, begun: Instant) -> Observed {
        let (states, taken) = (checker.unique_state_count(), begun.elapsed());
        println!("{}: {states} states, {taken:.1?}{}", self.name, memory());
        let properties = checker.model().properties();
        let found = |wanted| {
            let these = properties
                .iter()
                .filter(move |property| property.expectation == wanted);
            these.map(|property| (property.name, checker.discovery(property.name)))
        };
        for (property, path) in found(Expectation::Always) {
            if let Some(path) = path {
                let story = self.tell(checker.model(), path);
                panic!("{}: not always: {property}\n{story}", self.name);
            }
        }
        if let Some(story) = self.astray(checker.model()) {
            panic!(
                "{}: from here on it never ends, whatever happens\n{story}",
                self.name
            );
        }
        for (property, path) in found(Expectation::Sometimes) {
            assert!(path.is_some(), "{}: never: {property}", self.name);
        }
        checker.model().recorder.observed()
    }

    /// The story of a state from which no end can be reached.
    fn astray(&self, shop: &Shop) -> Option<String> {
        let beginning = shop.init_states().remove(0);
        let path = shop.ways.as_ref()?.path_astray(shop, &beginning)?;
        Some(self.tell(shop, path))
    }

    fn tell(&self, shop: &Shop, path: Path<World, Action>) -> String {
        let there = path.encode(shop);
        format!(
            "{}to walk through it: just model explore '{}', then http://{EXPLORER}/#/steps/{there}\n",
            story::tell(path),
            self.name
        )
    }
}

/// The most memory that this process had, where the system says so.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let mebibytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    mebibytes.map_or_else(String::new, |kibibytes| {
        format!(", at most {} MiB", kibibytes / 1024)
    })
}
