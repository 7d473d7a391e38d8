use failure_tests::chaos::{self, Options};
use failure_tests::clock::Clocks;

use crate::stage::runtime;

/// A short form of `just chaos`: each kind of fault at least once. `QUADRILLE_TEST_SEED` makes it another one.
#[test]
fn everything_breaks_at_once_and_the_books_balance() {
    if !Clocks::POSSIBLE {
        eprintln!("skipped: clocks jump on Linux alone");
        return;
    }
    let seed = std::env::var("QUADRILLE_TEST_SEED");
    let options = Options {
        sagas: 300,
        seed: seed.ok().and_then(|seed| seed.parse().ok()).unwrap_or(5),
        faults: Some(20),
        shoppers: 64,
        finished: None,
    };
    let outcome = runtime()
        .block_on(chaos::run(&options))
        .unwrap_or_else(|error| panic!("{error:#}"));
    eprintln!("{}{}", outcome.summary(), outcome.sum());
    assert_eq!(outcome.spared(), Vec::<&str>::new());
    let wrong = outcome.wrong();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
