use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use quadrille_contracts::{OrderId, ProductId};
use quadrille_proto::order::v1::order_service_client::OrderServiceClient;
use quadrille_proto::order::v1::{
    CancelOrderRequest, Card, GetOrderRequest, HostedPage, Order, PaymentMethod, PlaceOrderItem,
    PlaceOrderRequest, payment_method,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use crate::chaos::ground::Ground;
use crate::chaos::pace::Pace;
use crate::customer::{Customer, insist, keyed, said, timed};
use crate::provider::Provider;

/// Connections of all of them together.
const CONNECTIONS: usize = 4;
const OWNERS: usize = 1_000;
const PRICE_MINOR: i64 = 1_250;
/// How long a shopper waits for a page, or tries to press its button, before going away.
const PATIENCE: Duration = Duration::from_secs(10);

/// Cards, and in how many of a hundred orders each is used.
const CARDS: &[(&str, u32)] = &[
    ("tok_ok", 60),
    ("tok_declined", 10),
    ("tok_insufficient_funds", 5),
    ("tok_answer_lost", 8),
    ("tok_error_then_ok", 7),
    ("tok_refund_error_then_ok", 6),
    ("tok_slow", 4),
];

/// Those who order. What each wishes follows from the seed and the number of the order, and so does its id: nobody has to
/// remember a million of them.
#[derive(Debug)]
pub(crate) struct Shoppers {
    seed: u64,
    shelves: Vec<ProductId>,
    clients: Vec<OrderServiceClient<Channel>>,
    provider: Provider,
    taken: Mutex<Vec<bool>>,
}

/// What one shopper wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish {
    items: Vec<(usize, i64)>,
    /// On a page, if it is none.
    card: Option<&'static str>,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Waits.
    Nothing,
    /// Cancels after so many milliseconds.
    Cancels(u64),
    /// Presses this button of the page.
    Presses(&'static str),
}

impl Shoppers {
    /// Fills shelves for so many orders: most are full, one is empty half way, one is empty soon.
    pub(crate) async fn enter(ground: &Ground, keeper: &Customer, seed: u64, orders: usize) -> Result<Self> {
        let taken = Mutex::new(vec![false; orders]);
        let orders = i64::try_from(orders)?;
        let full = orders * 4 + 1_000;
        let units = [full, full, full, full, full, full, orders / 12 + 20, 40];
        let shelves = stream::iter(units)
            .map(|units| keeper.product(PRICE_MINOR, units))
            .buffered(4)
            .try_collect()
            .await
            .context("fill the shelves")?;
        let connect = |_| -> Result<_> {
            let endpoint = Endpoint::from_shared(ground.door())?
                .tcp_nodelay(true)
                .connect_timeout(Duration::from_secs(2));
            Ok(OrderServiceClient::new(endpoint.connect_lazy()))
        };
        Ok(Self {
            seed,
            shelves,
            clients: (0..CONNECTIONS).map(connect).collect::<Result<_>>()?,
            provider: Provider::of(&ground.system)?,
            taken,
        })
    }

    /// Places all orders, so many shoppers at the same time, and does what each wishes.
    pub(crate) async fn shop(self: Arc<Self>, orders: usize, at_once: usize, pace: Arc<Pace>) -> Result<()> {
        stream::iter((0..orders).map(Ok))
            .try_for_each_concurrent(at_once, |number| {
                let (shoppers, pace) = (Arc::clone(&self), Arc::clone(&pace));
                async move {
                    pace.until_allowed(number).await?;
                    shoppers.one(number, &pace).await
                }
            })
            .await
    }

    async fn one(&self, number: usize, pace: &Pace) -> Result<()> {
        let wish = Wish::draw(self.seed, number, self.shelves.len());
        let order = self.place(number, &wish).await?;
        self.lock()[number] = true;
        pace.took();
        match wish.then {
            Then::Nothing => Ok(()),
            Then::Cancels(after_ms) => {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                self.cancel(number, order).await
            }
            Then::Presses(button) => {
                // Who does not get that far goes away, and the page expires.
                drop(tokio::time::timeout(PATIENCE, self.press(number, order, button)).await);
                Ok(())
            }
        }
    }

    /// The orders that were taken.
    pub(crate) fn accepted(&self) -> BTreeSet<OrderId> {
        let taken = self.lock();
        let numbers = taken.iter().enumerate().filter(|(_, taken)| **taken);
        numbers.map(|(number, _)| order_id(self.seed, number)).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<bool>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self, number: usize) -> OrderServiceClient<Channel> {
        self.clients[number % self.clients.len()].clone()
    }

    async fn place(&self, number: usize, wish: &Wish) -> Result<OrderId> {
        let method = match wish.card {
            Some(token) => payment_method::Method::Card(Card {
                token: token.to_owned(),
            }),
            None => payment_method::Method::HostedPage(HostedPage {}),
        };
        let items = wish.items.iter().map(|(shelf, quantity)| PlaceOrderItem {
            product_id: self.shelves[*shelf].to_string(),
            quantity: *quantity,
        });
        let request = PlaceOrderRequest {
            owner: owner(number),
            items: items.collect(),
            payment_method: Some(PaymentMethod { method: Some(method) }),
            expected_currency_code: None,
        };
        let (client, key) = (self.client(number), key(self.seed, number));
        let answer = insist(async || client.clone().place_order(keyed(request.clone(), &key)).await)
            .await
            .map_err(said("place an order"))?;
        let id: OrderId = answer
            .order
            .context("an answer without an order")?
            .order_id
            .parse()?;
        ensure!(
            id == order_id(self.seed, number),
            "order {number} was taken under another id, {id}"
        );
        Ok(id)
    }

    async fn cancel(&self, number: usize, order: OrderId) -> Result<()> {
        let request = CancelOrderRequest {
            order_id: order.to_string(),
        };
        let (client, key) = (self.client(number), format!("cancel-{}", key(self.seed, number)));
        let answer = insist(async || client.clone().cancel_order(keyed(request.clone(), &key)).await).await;
        match answer {
            Ok(_) => Ok(()),
            // It was over before.
            Err(status) if status.code() == Code::FailedPrecondition => Ok(()),
            Err(status) => Err(said("cancel an order")(status)),
        }
    }

    async fn press(&self, number: usize, order: OrderId, button: &str) {
        let client = self.client(number);
        let request = GetOrderRequest {
            order_id: order.to_string(),
        };
        loop {
            let answer = client.clone().get_order(timed(request.clone())).await;
            let found: Option<Order> = answer.ok().and_then(|answer| answer.into_inner().order);
            if let Some(order) = found {
                let page = &order.payment_page_url;
                if order.ended || (!page.is_empty() && self.provider.press(page, button).await.is_ok()) {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
}

/// The id that an order gets, whatever happens.
pub(crate) fn order_id(seed: u64, number: usize) -> OrderId {
    let command = saga_core::id::of_command(&owner(number), "PlaceOrder", &key(seed, number));
    OrderId(Uuid::new_v5(&command, b"order"))
}

fn owner(number: usize) -> String {
    format!("shopper-{}", number % OWNERS)
}

fn key(seed: u64, number: usize) -> String {
    format!("{seed}-{number}")
}

impl Wish {
    fn draw(seed: u64, number: usize, shelves: usize) -> Self {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        // Neighbours have nothing in common.
        let mut random =
            StdRng::seed_from_u64(seed.rotate_left(32) ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let first = random.random_range(0..shelves);
        let mut items = vec![(first, random.random_range(1..=3))];
        if random.random_bool(0.3) {
            items.push(((first + 1) % shelves, 1));
        }
        if random.random_bool(0.1) {
            let then = match random.random_range(0..100) {
                0..70 => Then::Presses("pay"),
                70..85 => Then::Presses("decline"),
                85..92 => Then::Cancels(random.random_range(0..2_000)),
                _ => Then::Nothing,
            };
            return Self {
                items,
                card: None,
                then,
            };
        }
        let mut drawn = random.random_range(0..CARDS.iter().map(|(_, share)| share).sum::<u32>());
        let card = CARDS.iter().find(|(_, share)| {
            let hit = drawn < *share;
            drawn = drawn.saturating_sub(*share);
            hit
        });
        Self {
            items,
            card: Some(card.map_or("tok_ok", |(card, _)| card)),
            // At once, while the bank is asked, or too late.
            then: if random.random_bool(0.15) {
                Then::Cancels(random.random_range(0..600))
            } else {
                Then::Nothing
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_wishes_and_has_all_of_them() {
        let draw = |seed| -> Vec<Wish> { (0..2_000).map(|number| Wish::draw(seed, number, 8)).collect() };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let cards: BTreeSet<Option<&str>> = draw(7).iter().map(|wish| wish.card).collect();
        assert_eq!(cards.len(), CARDS.len() + 1);
        for (name, is) in [
            ("pay", (|then| then == Then::Presses("pay")) as fn(Then) -> bool),
            ("decline", |then| then == Then::Presses("decline")),
            ("cancel", |then| matches!(then, Then::Cancels(_))),
        ] {
            assert!(
                draw(7).iter().any(|wish| is(wish.then)),
                "nobody wishes to {name}"
            );
        }
    }

    #[test]
    fn every_order_has_an_id_of_its_own() {
        let ids: BTreeSet<OrderId> = (0..5_000).map(|number| order_id(3, number)).collect();
        assert_eq!(ids.len(), 5_000);
        assert_ne!(order_id(3, 0), order_id(4, 0));
    }
}
