//! The decisions of production under every interleaving: redelivery under new positions, overtaking between
//! topics, timers and cancels at any time, and a provider that does things and does not say so.
//!
//! Not a model of the code: the code. What is modelled is what surrounds it (`seat`, `provider`).

use std::sync::LazyLock;
use std::time::Instant;

use quadrille_contracts::order::PaymentMethod;
use saga_core::{Participant, Step};
use stateright::{Checker, Expectation, Model, Property};

use crate::shop::{Faults, Shop};

/// What has to hold.
mod checks;
/// What each action does.
mod happens;
/// The provider.
mod provider;
/// What the engine keeps.
mod seat;
/// The shop.
mod shop;
/// A counterexample for people.
mod story;

type Edges = std::collections::BTreeSet<(&'static str, &'static str, &'static str)>;

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

/// Checks everything that can happen in a run; the edges that were seen.
fn check(
    name: &str,
    orders: Vec<PaymentMethod>,
    stock: u64,
    faults: Faults,
    properties: fn() -> Vec<Property<Shop>>,
) -> Edges {
    let begun = Instant::now();
    let shop = Shop {
        orders,
        stock,
        faults,
        properties,
        observed: Default::default(),
    };
    let checker = shop.checker().threads(2).spawn_bfs().join();
    println!(
        "{name}: {} states, {:.1?}",
        checker.unique_state_count(),
        begun.elapsed()
    );
    for property in checker.model().properties() {
        let path = checker.discovery(property.name);
        match (property.expectation, path) {
            (Expectation::Always, Some(path)) => {
                panic!("{name}: not always: {}\n{}", property.name, story::tell(path))
            }
            (Expectation::Sometimes, None) => panic!("{name}: never: {}", property.name),
            (Expectation::Always, None) | (Expectation::Sometimes, Some(_)) => {}
            (Expectation::Eventually, _) => {
                unreachable!("all paths end, so what must come is checked at rest")
            }
        }
    }
    let observed = &checker.model().observed;
    let edges = observed.lock().expect("all threads have ended");
    edges.clone()
}

fn card() -> PaymentMethod {
    PaymentMethod::Card { token: "tok".into() }
}

static CARD: LazyLock<Edges> = LazyLock::new(|| {
    let faults = Faults {
        republished: 1,
        overtaken: 1,
        lost: 1,
        replayed: 1,
        exhausted: 2,
        fired_late: 1,
        ..NONE
    };
    check(
        "one order, paid with a card",
        vec![card()],
        1,
        faults,
        checks::card,
    )
});

static PAGE: LazyLock<Edges> = LazyLock::new(|| {
    let faults = Faults {
        republished: 1,
        lost: 1,
        replayed: 1,
        exhausted: 2,
        reports: 2,
        ..NONE
    };
    check(
        "one order, paid on a page",
        vec![PaymentMethod::HostedPage],
        1,
        faults,
        checks::page,
    )
});

static LATE: LazyLock<Edges> = LazyLock::new(|| {
    let faults = Faults {
        reports: 1,
        exhausted: 1,
        late: true,
        fired_late: 1,
        republished: 1,
        ..NONE
    };
    check(
        "a page that is paid late",
        vec![PaymentMethod::HostedPage],
        1,
        faults,
        checks::late,
    )
});

static NOTHING: LazyLock<Edges> = LazyLock::new(|| {
    let faults = Faults {
        republished: 2,
        overtaken: 1,
        ..NONE
    };
    check(
        "nothing in stock",
        vec![card()],
        0,
        faults,
        checks::nothing_in_stock,
    )
});

static LAST_ITEM: LazyLock<Edges> = LazyLock::new(|| {
    check(
        "two orders, one item",
        vec![card(), card()],
        1,
        NONE,
        checks::last_item,
    )
});

#[test]
fn an_order_that_is_paid_with_a_card() {
    LazyLock::force(&CARD);
}

#[test]
fn an_order_that_is_paid_on_a_page() {
    LazyLock::force(&PAGE);
}

#[test]
fn a_page_that_is_paid_late() {
    LazyLock::force(&LATE);
}

#[test]
fn an_order_without_stock() {
    LazyLock::force(&NOTHING);
}

#[test]
fn two_orders_compete_for_the_last_item() {
    LazyLock::force(&LAST_ITEM);
}

/// `steps!` says no more and no less than what happens.
#[test]
fn every_declared_edge_is_observed_and_no_other() {
    let observed: Edges = [&CARD, &PAGE, &LATE, &NOTHING, &LAST_ITEM]
        .iter()
        .flat_map(|edges| LazyLock::force(edges).iter().copied())
        .collect();
    let mut declared = Edges::new();
    declare::<order::participant::Orders>(&mut declared);
    declare::<inventory::participant::Inventory>(&mut declared);
    declare::<payment::participant::Payments>(&mut declared);
    let never: Vec<_> = declared.difference(&observed).collect();
    let undeclared: Vec<_> = observed.difference(&declared).collect();
    assert!(never.is_empty(), "declared, and never happens: {never:?}");
    assert!(
        undeclared.is_empty(),
        "happens, and is not declared: {undeclared:?}"
    );
}

fn declare<P: Participant>(edges: &mut Edges) {
    for Step { on, emits, .. } in P::STEPS {
        edges.extend(emits.iter().map(|emit| (P::NAME, *on, *emit)));
    }
}
