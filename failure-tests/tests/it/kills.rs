use failure_tests::nemesis::Nemesis;
use failure_tests::system::PROGRAMS;
use quadrille_proto::order::v1::OrderStatus;

use crate::stage::{Busy, alone, audit};

/// How many orders; `QUADRILLE_TEST_ORDERS` for another number.
const ORDERS: usize = 2_000;
/// How often each program is killed.
const ROUNDS: usize = 3;
const SEED_OF_CI: u64 = 20_260;

/// Each process is killed three times while 2,000 orders are placed: of every kind, some of them cancelled at once.
#[test]
fn kills_at_random_moments_during_two_thousand_orders() {
    alone(async |shop| {
        let number = |key: &str| {
            std::env::var(key)
                .ok()
                .and_then(|value| value.parse::<u64>().ok())
        };
        let orders = number("QUADRILLE_TEST_ORDERS").map_or(ORDERS, |n| usize::try_from(n).unwrap_or(ORDERS));
        // Where nobody looks for what is new, a run is to say the same of the same code.
        let seed = number("QUADRILLE_TEST_SEED").unwrap_or_else(|| match std::env::var_os("CI") {
            Some(_) => SEED_OF_CI,
            None => rand::random_range(0..1_000_000),
        });
        eprintln!("kills: {orders} orders; again with QUADRILLE_TEST_SEED={seed}");
        let busy = Busy::new(shop, orders, seed).await?;
        let nemesis = Nemesis::draw(seed, PROGRAMS, ROUNDS, orders);
        tokio::try_join!(busy.order(), nemesis.run(shop, &busy.progress))?;
        let audit = audit(shop, &busy.customer).await?;
        // A run in which one of the ends never came would have shown less than it says.
        for status in [
            OrderStatus::Confirmed,
            OrderStatus::Rejected,
            OrderStatus::Cancelled,
            OrderStatus::Refunded,
        ] {
            assert!(
                audit.ended(status) > 0 || orders < ORDERS,
                "no order was {}",
                status.as_str_name()
            );
        }
        Ok(())
    });
}
