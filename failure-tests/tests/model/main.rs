//! The decisions of production under every interleaving: redelivery under new positions, overtaking between
//! topics, timers and cancels at any time, and a provider that does things and does not say so.
//!
//! Not a model of the code: the code. What is modelled is what surrounds it (`seat`, `provider`).

/// A run, checked.
mod check;
/// What has to hold.
mod checks;
/// The whole of the shop: drawn, and checked.
mod choreography;
/// What each action does.
mod happens;
/// The provider.
mod provider;
/// What is run.
mod runs;
/// What the engine keeps.
mod seat;
/// The shop.
mod shop;
/// A counterexample for people.
mod story;

#[test]
fn an_order_that_is_paid_with_a_card() {
    runs::done("card");
}

#[test]
fn an_order_that_is_paid_on_a_page() {
    runs::done("page");
}

#[test]
fn a_page_that_is_paid_late() {
    runs::done("page-paid-late");
}

#[test]
fn an_order_without_stock() {
    runs::done("nothing-in-stock");
}

#[test]
fn two_orders_compete_for_the_last_item() {
    runs::done("last-item");
}

#[test]
#[ignore = "it takes long: just model deep"]
fn deep() {
    for run in runs::deep() {
        run.check_deeply();
    }
}

/// Which run to explore: a name of one, small or deep.
const RUN: &str = "QUADRILLE_MODEL_RUN";

#[test]
#[ignore = "it serves until it is stopped: just model explore"]
fn explore() {
    let name = std::env::var(RUN).unwrap_or_else(|_| "card".into());
    let mut all = runs::small();
    all.extend(runs::deep());
    match all.iter().find(|run| run.name == name) {
        Some(run) => run.explore(),
        None => {
            let names: Vec<_> = all.iter().map(|run| run.name).collect();
            panic!("there is no run '{name}'; there are: {}", names.join(" | "));
        }
    }
}
