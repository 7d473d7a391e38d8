//! The choreography of the shop: what is declared beside each participant, with what was seen in all runs.

use std::path::PathBuf;

use inventory::participant::Inventory;
use order::participant::Orders;
use payment::participant::Payments;
use product::participant::{Catalogue, ChangePrice, Listing};
use quadrille_contracts as contracts;
use saga_core::choreography::{About, Choreography, Observed, Recorder};
use saga_core::{Currency, Money};

use crate::runs;
use crate::shop::{ORDERS, PRICE, product};

const ACCEPT: &str = "ACCEPT_CHOREOGRAPHY";

fn shop() -> Choreography {
    let shop = Choreography::new("shop")
        .participant::<Orders>()
        .participant::<Inventory>()
        .participant::<Payments>()
        .participant::<Catalogue>()
        .topics(contracts::TOPICS)
        .entry::<Orders>("PlaceOrder", "a customer")
        .entry::<Orders>("Cancel", "a customer")
        .entry::<Inventory>("ReceiveStock", "the staff")
        .entry::<Catalogue>("Create", "the staff")
        .entry::<Catalogue>("ChangePrice", "the staff")
        .entry::<Payments>("ReportPage", "the payment provider")
        .may_wait::<Catalogue>("a product is for sale until somebody changes it; it is no saga");
    let seen = contracts::FOR_OBSERVERS.iter();
    seen.fold(shop, |shop, (event, why)| shop.for_observers(event, why))
}

/// What the catalogue does and what orders make of it: no order of inputs matters, so no model is needed.
fn catalogue() -> Observed {
    let recorder = Recorder::default();
    let listing = Listing {
        product_id: product(),
        name: "chair".into(),
        price: PRICE,
    };
    let dearer = ChangePrice {
        product_id: product(),
        price: Money::new(1500, Currency::EUR),
    };
    let inputs = [
        product::participant::In::Create(listing),
        product::participant::In::ChangePrice(dearer),
    ];
    recorder.walk(&Catalogue, [], &inputs, 10).expect("few states");
    let inputs = [
        order::participant::In::ProductCreated(contracts::product::Created {
            product_id: product(),
            name: "chair".into(),
            price: PRICE,
        }),
        order::participant::In::PriceChanged(contracts::product::PriceChanged {
            product_id: product(),
            price: dearer.price,
        }),
    ];
    recorder.walk(&ORDERS, [], &inputs, 10).expect("few states");
    recorder.observed()
}

const ABOUT: About<'static> = About {
    title: "Quadrille's shop",
    version: env!("CARGO_PKG_VERSION"),
    description: "What the services of the shop tell each other, as CloudEvents in binary mode.",
    schema: |name, version| format!("../contracts/schemas/{name}-v{version}.json"),
};

/// One test, since what it needs is seen in all runs.
#[test]
fn the_choreography_is_sound_and_its_documents_are_of_today() {
    let mut observed = runs::all_done();
    observed.merge(catalogue());
    if let Err(unsound) = shop().check(&observed) {
        panic!("{unsound}");
    }
    let asyncapi = serde_json::to_string_pretty(&shop().asyncapi(&ABOUT)).expect("a document is JSON");
    let mut outdated = Vec::new();
    for (name, text) in [
        ("choreography.md", page(&shop(), &observed)),
        ("choreography.json", shop().graph(&observed).json()),
        ("asyncapi.json", asyncapi + "\n"),
    ] {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../docs")
            .join(name);
        if std::fs::read_to_string(&file).ok().as_ref() == Some(&text) {
            continue;
        }
        if std::env::var_os(ACCEPT).is_some() {
            std::fs::write(&file, text).expect("the docs can be written");
            println!("docs/{name} is written");
        } else {
            outdated.push(name);
        }
    }
    assert!(
        outdated.is_empty(),
        "docs are not what this build writes: {outdated:?}; run `just choreography` and look at the difference"
    );
}

/// What people read.
fn page(shop: &Choreography, observed: &Observed) -> String {
    let seen: Vec<_> = contracts::FOR_OBSERVERS
        .iter()
        .map(|(event, why)| format!("* `{event}`: {why}."))
        .collect();
    format!(
        "{INTRODUCTION}\n```mermaid\n{}```\n{LEGEND}\n{}\n\n## Step by step\n\n{STEPS}\n{}",
        shop.mermaid(observed),
        seen.join("\n"),
        shop.tables(observed).trim_end().to_owned() + "\n",
    )
}

const INTRODUCTION: &str = "\
# The choreography of the shop

Nobody leads, so nobody's code shows the whole. This page does. `just choreography` writes it from the types and `steps!` of the
participants and from what their production decisions did in every state that the model checker reached; a test fails when it is
out of date, or when a check finds something.
";

const LEGEND: &str = "
An arrow is what one participant tells another. Plain arrows lead forward; amber ones say no, and the saga turns back; red dashed ones are
the way back, on which what was done is undone. Beside a participant stand its deadlines and what it does outside.

What `order.cancelled` undoes may be under way when it comes, or may not have begun: that is what the [model](model.md) is for. For machines:
the events as a document of AsyncAPI 3, [asyncapi.json](asyncapi.json), and all of this page as data, [choreography.json](choreography.json): who takes
part, events, effects, timers, compensations, and each edge with whether it is declared and whether it was seen. Its members are told in
`saga_core::choreography::Graph`.

Events that no participant hears, on purpose:
";

const STEPS: &str = "\
What a participant may put out depends on its state, so the outputs of a line are alternatives, or come together, or not at all.
";
