use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use quadrille_contracts::{OrderId, ProductId};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tonic::Code;

use crate::customer::{Customer, Pays};
use crate::wait::until;

/// Many orders of every kind.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many.
    pub orders: usize,
    /// How many calls at the same time.
    pub at_once: usize,
    /// What each of them is follows from this.
    pub seed: u64,
}

/// How far a load is: orders that were placed.
pub type Progress = Arc<AtomicUsize>;

/// What one customer wishes.
#[derive(Clone, Debug)]
struct Wish {
    items: Vec<(usize, i64)>,
    card: &'static str,
    regrets: Option<Regret>,
}

/// When a customer thinks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Regret {
    /// With the order hardly placed.
    AtOnce,
    /// With the bank being asked.
    DuringTheCharge,
}

const CARDS: &[(&str, u32)] = &[
    ("tok_ok", 62),
    ("tok_declined", 12),
    ("tok_insufficient_funds", 6),
    ("tok_answer_lost", 8),
    ("tok_error_then_ok", 8),
    ("tok_slow", 4),
];

impl Load {
    /// Places all orders, some of which are cancelled at once or during the charge, and returns when the last was taken.
    ///
    /// # Errors
    /// If an order that is in order is refused.
    pub async fn run(&self, customer: &Customer, shelves: &[ProductId], progress: &Progress) -> Result<()> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let wishes: Vec<Wish> = (0..self.orders)
            .map(|_| Wish::draw(&mut random, shelves.len()))
            .collect();
        stream::iter(wishes.into_iter().map(Ok))
            .try_for_each_concurrent(self.at_once, async |wish: Wish| {
                let items: Vec<(ProductId, i64)> = wish
                    .items
                    .iter()
                    .map(|(shelf, units)| (shelves[*shelf], *units))
                    .collect();
                let order = customer.place(&items, Pays::Card(wish.card)).await?;
                progress.fetch_add(1, Ordering::Relaxed);
                if let Some(regret) = wish.regrets {
                    if regret == Regret::DuringTheCharge {
                        charging(customer, order).await?;
                    }
                    match customer.cancel(order).await {
                        Ok(_) => {}
                        // It was faster.
                        Err(status) if status.code() == Code::FailedPrecondition => {}
                        Err(status) => anyhow::bail!("cancel {order}: {status:?}"),
                    }
                }
                anyhow::Ok(())
            })
            .await
    }
}

/// Shelves for a load: most are full, the last is soon empty.
///
/// # Errors
/// What a service said.
pub async fn shelves(customer: &Customer) -> Result<Vec<ProductId>> {
    let units = [1_000_000, 1_000_000, 1_000_000, 1_000_000, 40];
    let made = stream::iter(units)
        .map(|units| customer.product(1_250, units))
        .buffered(2);
    made.try_collect().await
}

/// Waits until the payment has begun, or the order is over already.
async fn charging(customer: &Customer, order: OrderId) -> Result<()> {
    until("the charge to begin", async || {
        let open = customer.order(order).await?;
        let begun = open.ended || customer.payment(order).await?.is_some();
        ensure!(begun, "{:?}", open.status());
        Ok(())
    })
    .await
}

impl Wish {
    fn draw(random: &mut StdRng, shelves: usize) -> Self {
        let first = random.random_range(0..shelves);
        let mut items = vec![(first, random.random_range(1..=3))];
        if random.random_bool(0.3) {
            items.push(((first + 1) % shelves, 1));
        }
        let total: u32 = CARDS.iter().map(|(_, share)| share).sum();
        let mut drawn = random.random_range(0..total);
        let card = CARDS.iter().find(|(_, share)| {
            let hit = drawn < *share;
            drawn = drawn.saturating_sub(*share);
            hit
        });
        let regrets = match random.random_range(0..100) {
            0..12 => Some(Regret::AtOnce),
            12..16 => Some(Regret::DuringTheCharge),
            _ => None,
        };
        Self {
            items,
            card: match regrets {
                Some(Regret::DuringTheCharge) => "tok_slow",
                _ => card.map_or("tok_ok", |(card, _)| card),
            },
            regrets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_wishes_and_every_card_comes() {
        let draw = |seed| {
            let mut random = StdRng::seed_from_u64(seed);
            let wishes: Vec<String> = (0..500)
                .map(|_| format!("{:?}", Wish::draw(&mut random, 5)))
                .collect();
            wishes
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        for (card, _) in CARDS {
            assert!(
                draw(7).iter().any(|wish| wish.contains(&format!("\"{card}\""))),
                "{card}"
            );
        }
        for regret in ["AtOnce", "DuringTheCharge"] {
            assert!(draw(7).iter().any(|wish| wish.contains(regret)), "{regret}");
        }
    }
}
