use std::collections::BTreeMap;

use quadrille_process::fault::{Point, Scope};
use uuid::Uuid;

use super::unsendable;

/// A way through a saga.
#[derive(Clone, Debug)]
pub struct Path {
    /// As it is asked for, in one word.
    pub name: &'static str,
    /// What happens on it, as the page tells it.
    pub story: &'static str,
    /// How it ends, if it is in a script.
    pub(super) end: Option<&'static str>,
    spared: BTreeMap<Point, &'static str>,
    is_strict: bool,
}

/// A saga to come.
#[derive(Clone, Debug)]
pub struct Saga {
    /// The name of its path.
    pub path: &'static str,
    /// Drawn for it alone. What it is called is derived from this, or is this.
    pub token: Uuid,
    /// Its key, as the engine's tables and Kafka have it.
    pub key: String,
}

impl Path {
    /// What a saga passes on it is seen in the rehearsal. What it does not pass is named on the page.
    pub fn new(name: &'static str, story: &'static str) -> Self {
        let path = Self {
            name,
            story,
            end: None,
            spared: BTreeMap::new(),
            is_strict: false,
        };
        path.spares(unsendable::ONLY, "every event of it can be sent")
    }

    /// A saga on it does not pass these points, and why; it is an error if one does.
    #[must_use]
    pub fn spares(mut self, points: &[Point], why: &'static str) -> Self {
        self.spared.extend(points.iter().map(|point| (*point, why)));
        self
    }

    /// What is neither passed nor spared is an error: so nothing is lost of it without somebody's noticing. Otherwise it is
    /// enough that each point is on some path.
    #[must_use]
    pub fn and_nothing_else(mut self) -> Self {
        self.is_strict = true;
        self
    }

    pub(super) fn is_strict(&self) -> bool {
        self.is_strict
    }

    /// It passes these, whatever was said before.
    pub(super) fn passes(&mut self, points: &[Point]) {
        self.spared.retain(|point, _| !points.contains(point));
    }

    /// Why a point is not on it; `None` if it has to be.
    pub(super) fn why_not(&self, point: Point) -> Option<&'static str> {
        match point.scope() {
            Scope::Process => Some("the process passes it by itself: see the table of processes"),
            Scope::Saga => self.spared.get(&point).copied(),
        }
    }
}
