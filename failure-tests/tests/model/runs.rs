//! What is run: who orders, how much is there, and what may go wrong how often.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

use quadrille_contracts::order::PaymentMethod;
use saga_core::choreography::{Observed, Recorder};
use saga_proof::model::Ways;
use stateright::Property;

use crate::checks;
use crate::shop::{Faults, Shop};

/// A part of what can happen, small enough to see all of it.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) name: &'static str,
    /// How each order is paid.
    orders: Vec<PaymentMethod>,
    stock: u64,
    faults: Faults,
    properties: fn() -> Vec<Property<Shop>>,
}

const NONE: Faults = Faults {
    republished: 0,
    overtaken: 0,
    lost: 0,
    replayed: 0,
    reports: 0,
    exhausted: 0,
    late: false,
    fired_late: 0,
};

impl Run {
    /// To be looked at; with its steps noted or not.
    pub(crate) fn shop(&self, notes_ways: bool) -> Shop {
        Shop {
            orders: self.orders.clone(),
            stock: self.stock,
            faults: self.faults,
            properties: self.properties,
            recorder: Recorder::default(),
            ways: notes_ways.then(Ways::default),
        }
    }
}

fn card() -> PaymentMethod {
    PaymentMethod::Card { token: "tok".into() }
}

fn page() -> PaymentMethod {
    PaymentMethod::HostedPage
}

/// The runs of every build.
pub(crate) fn small() -> Vec<Run> {
    vec![
        Run {
            name: "card",
            orders: vec![card()],
            stock: 1,
            faults: Faults {
                republished: 1,
                overtaken: 1,
                lost: 1,
                replayed: 1,
                exhausted: 2,
                fired_late: 1,
                ..NONE
            },
            properties: checks::card,
        },
        Run {
            name: "page",
            orders: vec![page()],
            stock: 1,
            faults: Faults {
                republished: 1,
                lost: 1,
                replayed: 1,
                exhausted: 2,
                reports: 2,
                ..NONE
            },
            properties: checks::page,
        },
        Run {
            name: "page-paid-late",
            orders: vec![page()],
            stock: 1,
            faults: Faults {
                reports: 1,
                exhausted: 1,
                replayed: 1,
                late: true,
                fired_late: 1,
                republished: 1,
                ..NONE
            },
            properties: checks::late,
        },
        Run {
            name: "nothing-in-stock",
            orders: vec![card()],
            stock: 0,
            faults: Faults {
                republished: 2,
                overtaken: 1,
                ..NONE
            },
            properties: checks::nothing_in_stock,
        },
        Run {
            name: "last-item",
            orders: vec![card(), card()],
            stock: 1,
            faults: NONE,
            properties: checks::last_item,
        },
    ]
}

/// The runs for which there is time at night: more orders, and more of everything that goes wrong.
pub(crate) fn deep() -> Vec<Run> {
    vec![
        Run {
            name: "card, deep",
            orders: vec![card()],
            stock: 1,
            faults: Faults {
                republished: 2,
                overtaken: 2,
                lost: 2,
                replayed: 2,
                exhausted: 3,
                fired_late: 1,
                ..NONE
            },
            properties: checks::card,
        },
        Run {
            name: "page, deep",
            orders: vec![page()],
            stock: 1,
            faults: Faults {
                republished: 1,
                overtaken: 1,
                lost: 1,
                replayed: 1,
                exhausted: 2,
                reports: 2,
                late: true,
                ..NONE
            },
            properties: checks::page,
        },
        Run {
            name: "two orders, unknown answers",
            orders: vec![card(), card()],
            stock: 1,
            faults: Faults { exhausted: 1, ..NONE },
            properties: checks::last_item,
        },
        Run {
            name: "card and page, one item",
            orders: vec![card(), page()],
            stock: 1,
            faults: Faults { reports: 1, ..NONE },
            properties: checks::always_one_sold,
        },
        Run {
            name: "three orders, one item",
            orders: vec![card(), card(), card()],
            stock: 1,
            faults: NONE,
            properties: checks::last_item,
        },
    ]
}

/// Makes a run of every build, or finds it made in this process.
pub(crate) fn done(name: &str) -> Observed {
    static DONE: OnceLock<BTreeMap<&str, Mutex<Option<Observed>>>> = OnceLock::new();
    let all = DONE.get_or_init(|| small().iter().map(|run| (run.name, Mutex::default())).collect());
    let mut place = all[name].lock().expect("it did not fail before");
    let make = || {
        let run = small().into_iter().find(|run| run.name == name);
        run.expect("a run of this name").check()
    };
    place.get_or_insert_with(make).clone()
}

/// What was seen in all of them.
pub(crate) fn all_done() -> Observed {
    let mut all = Observed::default();
    for run in small() {
        all.merge(done(run.name));
    }
    all
}
