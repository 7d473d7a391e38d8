use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use quadrille_process::kafka::KafkaSettings;
use quadrille_proto::order::v1::payment_method::Method;
use quadrille_proto::order::v1::{Card, PlaceOrderItem};
use saga_core::Money;

use super::accident::Accident;
use super::feed::Feed;
use super::stage::Stage;
use crate::failure::{Code, Failure};
use crate::settings::Settings;
use crate::verbs::order::{Orders, order_request};
use crate::verbs::product::Catalogue;
use crate::verbs::stock::{Shelf, Stock};
use crate::{grpc, money};

/// How long a saga may take here, with a killed process whose claim has to run out.
const PATIENCE: Duration = Duration::from_secs(60);

/// Units of each product that come in.
const RECEIVED: i64 = 10;

/// The service that is killed: it is talking to the bank at that moment.
const VICTIM: &str = "payment";

/// A shop with two products on its shelf.
pub(super) struct Shop {
    orders: Orders,
    shelf: Shelf,
    feed: Feed,
    pub(super) products: Vec<Product>,
}

/// Something on the shelf, and how many of it should be sold by now.
pub(super) struct Product {
    pub(super) id: String,
    pub(super) name: &'static str,
    pub(super) sold: i64,
}

/// An order that was played to its end.
pub(super) struct Played {
    pub(super) order_id: String,
    pub(super) total: Option<Money>,
    pub(super) status: String,
    pub(super) as_planned: bool,
}

/// What an order should come to.
struct Plan {
    token: &'static str,
    /// Units of each product.
    quantities: [i64; 2],
    status: &'static str,
    /// Events after which nothing more is to come.
    last: &'static [&'static str],
}

const CONFIRMED: Plan = Plan {
    token: "tok_ok",
    quantities: [2, 1],
    status: "CONFIRMED",
    last: &["order.confirmed", "stock.committed"],
};

const DECLINED: Plan = Plan {
    token: "tok_declined",
    quantities: [1, 1],
    status: "CANCELLED",
    last: &["order.cancelled", "stock.released"],
};

/// The bank takes three seconds, whether or not anybody still waits for its answer.
const KILLED: Plan = Plan {
    token: "tok_slow",
    quantities: [1, 2],
    status: "CONFIRMED",
    last: &["order.confirmed", "stock.committed"],
};

impl Shop {
    /// Two products, with stock.
    pub(super) async fn open(
        settings: &Settings,
        kafka: &KafkaSettings,
        stage: &Stage,
    ) -> Result<Self, Failure> {
        let mut catalogue = Catalogue::connect(settings).await?;
        let mut shelf = Shelf::connect(settings).await?;
        let orders = Orders::connect(settings).await?;
        let mut products = Vec::new();
        stage.tell("");
        for (name, price) in [("Darjeeling, 100 g", "12.50 EUR"), ("Tea cup, blue", "8.00 EUR")] {
            let price = money::parse(price).expect("it is an amount");
            let product = catalogue.create(name.to_owned(), price, None, None).await?;
            let stock = shelf.receive(product.product_id.clone(), RECEIVED, None).await?;
            stage.tell(format!(
                "  product {}  {name}, {price}, {} on the shelf",
                product.product_id, stock.on_hand
            ));
            products.push(Product {
                id: product.product_id,
                name,
                sold: 0,
            });
        }
        Ok(Self {
            orders,
            shelf,
            feed: Feed::open(kafka).await?,
            products,
        })
    }

    /// The stock of a product.
    pub(super) async fn stock(&mut self, product: usize) -> Result<Stock, Failure> {
        self.shelf.get(self.products[product].id.clone()).await
    }

    /// The good end.
    pub(super) async fn confirmed(&mut self, stage: &Stage) -> Result<Played, Failure> {
        stage.title("1. An order, paid by card");
        self.play(stage, &CONFIRMED, None).await
    }

    /// Compensation.
    pub(super) async fn declined(&mut self, stage: &Stage) -> Result<Played, Failure> {
        stage.title("2. The bank declines the card: what was done is undone");
        self.play(stage, &DECLINED, None).await
    }

    /// A crash in the middle.
    pub(super) async fn killed(&mut self, stage: &Stage, accident: &Accident) -> Result<Played, Failure> {
        stage.title("3. kill -9, while the bank is charging the card");
        self.play(stage, &KILLED, Some(accident)).await
    }

    async fn play(
        &mut self,
        stage: &Stage,
        plan: &Plan,
        mut accident: Option<&Accident>,
    ) -> Result<Played, Failure> {
        let (order_id, total) = self.place(stage, plan).await?;
        let mut missing: BTreeSet<&str> = plan.last.iter().copied().collect();
        let mut began: Option<DateTime<Utc>> = None;
        let deadline = Instant::now() + PATIENCE;
        while !missing.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(event) = self.feed.next(&order_id, left).await? else {
                break;
            };
            let began = *began.get_or_insert_with(|| event.at.unwrap_or_else(Utc::now));
            let after = event.at.map_or_else(TimeDelta::zero, |at| at - began);
            stage.event(after, &event.name, &event.source);
            missing.remove(event.name.as_str());
            if event.name == "payment.created"
                && let Some(accident) = accident.take()
            {
                strike(stage, accident).await?;
            }
        }
        let order = self.orders.get(order_id.clone()).await?;
        let as_planned = missing.is_empty() && order.status == plan.status;
        let units: i64 = plan.quantities.iter().sum();
        stage.check(
            as_planned,
            if !missing.is_empty() {
                let missing: Vec<&str> = missing.into_iter().collect();
                format!(
                    "{} did not come within {} s; see `sagactl saga show {order_id}`",
                    missing.join(" and "),
                    PATIENCE.as_secs()
                )
            } else if plan.status == "CONFIRMED" {
                format!(
                    "{}: {units} units sold for {}",
                    order.standing(),
                    money::cell(total)
                )
            } else {
                format!("{}: nothing sold, nothing charged", order.standing())
            },
        );
        if order.is_confirmed() {
            for (product, quantity) in self.products.iter_mut().zip(plan.quantities) {
                product.sold += quantity;
            }
        }
        Ok(Played {
            order_id,
            total,
            status: order.status,
            as_planned,
        })
    }

    async fn place(&mut self, stage: &Stage, plan: &Plan) -> Result<(String, Option<Money>), Failure> {
        // The order service learns of products and prices from product-events: a moment later.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let items = self.products.iter().zip(plan.quantities);
            let items = items.map(|(product, quantity)| PlaceOrderItem {
                product_id: product.id.clone(),
                quantity,
            });
            let card = Method::Card(Card {
                token: plan.token.to_owned(),
            });
            let request = order_request("demo".to_owned(), items, card, None);
            match self.orders.place(request, &grpc::idempotency_key(None)).await {
                Ok((order, trace)) => {
                    stage.tell(format!(
                        "  order {}, {}, card {}\n  trace {}",
                        order.order_id,
                        money::cell(order.total),
                        plan.token,
                        trace.id
                    ));
                    return Ok((order.order_id, order.total));
                }
                Err(failure) if failure.code == Code::No && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}

async fn strike(stage: &Stage, accident: &Accident) -> Result<(), Failure> {
    accident.kill(VICTIM).await?;
    stage.act(format!(
        "kill -9 {VICTIM}: it asked the bank, and will never hear the answer"
    ));
    accident.start(VICTIM).await?;
    stage.act(format!(
        "{VICTIM} runs again; 15 s after the call the claim on it ends, and it asks with the same key"
    ));
    Ok(())
}
