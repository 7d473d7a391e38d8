use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use failure_tests::System;
use quadrille_contracts::{OrderId, ProductId, order, payment, stock};
use quadrille_proto::order::v1::order_service_client::OrderServiceClient;
use quadrille_proto::order::v1::{Card, PaymentMethod, PlaceOrderItem, PlaceOrderRequest, payment_method};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use crate::report::Report;
use crate::sightings::{STAGES, Sightings};

/// Connections of all callers together: each is served by one task.
const CONNECTIONS: usize = 4;

/// How long a caller is told to come back later before that counts as a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A load of whole orders.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) orders: usize,
    /// Customers who order at the same time, one order after the other.
    pub(crate) callers: usize,
    /// Orders that are not confirmed yet; who would make it more waits.
    pub(crate) under_way: usize,
    /// Orders per second. None: as fast as it goes.
    pub(crate) rate: Option<f64>,
    /// Whether every event is looked for, or the confirmations alone.
    pub(crate) every_event: bool,
}

/// What became of a load.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Of each event in [`STAGES`] how long after its order was to be placed it was in a consumer's hands.
    pub(crate) reached: Vec<crate::sample::Sample>,
    /// From the first call to the last confirmation.
    pub(crate) elapsed: Duration,
}

/// Customers of one shop.
#[derive(Debug)]
pub(crate) struct Buyers<'s> {
    system: &'s System,
    orders: Vec<OrderServiceClient<Channel>>,
    products: Arc<[ProductId]>,
}

impl<'s> Buyers<'s> {
    pub(crate) fn of(system: &'s System, products: Vec<ProductId>) -> Result<Self> {
        let connect = |_| -> Result<_> {
            let endpoint = Endpoint::from_shared(system.address("order"))?.tcp_nodelay(true);
            Ok(OrderServiceClient::new(endpoint.connect_lazy()))
        };
        Ok(Self {
            system,
            orders: (0..CONNECTIONS).map(connect).collect::<Result<_>>()?,
            products: products.into(),
        })
    }

    /// Places orders and waits until all are confirmed.
    pub(crate) async fn run(&self, load: Load, report: &Report) -> Result<Outcome> {
        let topics: &[&str] = if load.every_event {
            &[order::TOPIC, stock::TOPIC, payment::TOPIC]
        } else {
            &[order::TOPIC]
        };
        let topics = topics.iter().map(|topic| self.system.topic(topic)).collect();
        let sightings = Arc::new(Sightings::begin(self.system.brokers(), topics, load.under_way).await?);
        let next = Arc::new(AtomicUsize::new(0));
        let begun = Instant::now();
        let mut callers = tokio::task::JoinSet::new();
        for number in 0..load.callers {
            let caller = Caller {
                name: format!("caller-{number}"),
                orders: self.orders[number % self.orders.len()].clone(),
                products: Arc::clone(&self.products),
                sightings: Arc::clone(&sightings),
            };
            callers.spawn(caller.order(load, Arc::clone(&next), begun));
        }
        let mut placed = Vec::with_capacity(load.orders);
        let ordering = async {
            while let Some(caller) = callers.join_next().await {
                placed.extend(caller??);
            }
            sightings.all_confirmed().await
        };
        showing(&sightings, load.orders, report, ordering).await?;
        let outcome = outcome(&sightings, &placed, begun)?;
        if let Some(sightings) = Arc::into_inner(sightings) {
            sightings.end().await?;
        }
        Ok(outcome)
    }
}

/// Shows how far it is while `work` goes on.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
async fn showing(
    sightings: &Sightings,
    orders: usize,
    report: &Report,
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    const EVERY: Duration = Duration::from_secs(5);
    tokio::pin!(work);
    let mut before = 0;
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(EVERY) => {
                let confirmed = sightings.confirmed();
                let rate = (confirmed - before) as f64 / EVERY.as_secs_f64();
                report.say(&format!("{confirmed} of {orders} orders are confirmed, {rate:.0}/s"));
                before = confirmed;
            }
        }
    }
}

fn outcome(sightings: &Sightings, placed: &[(OrderId, Instant)], begun: Instant) -> Result<Outcome> {
    let mut reached: Vec<_> = STAGES.iter().map(|_| crate::sample::Sample::default()).collect();
    let mut last = begun;
    for (order, at) in placed {
        let stages = sightings
            .of(*order)
            .with_context(|| format!("order {order} was never seen"))?;
        for (sample, stage) in reached.iter_mut().zip(stages) {
            if let Some(stage) = stage {
                sample.add(stage.saturating_duration_since(*at));
                last = last.max(stage);
            }
        }
    }
    Ok(Outcome {
        reached,
        elapsed: last.duration_since(begun),
    })
}

struct Caller {
    /// The owner of its orders.
    name: String,
    orders: OrderServiceClient<Channel>,
    products: Arc<[ProductId]>,
    sightings: Arc<Sightings>,
}

impl Caller {
    /// Orders until there is no more to be ordered. The clock of an order with a time of its own runs from that time: a
    /// caller who is late does not make the figure better.
    #[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
    async fn order(
        mut self,
        load: Load,
        next: Arc<AtomicUsize>,
        begun: Instant,
    ) -> Result<Vec<(OrderId, Instant)>> {
        let mut placed = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= load.orders {
                return Ok(placed);
            }
            let due = load
                .rate
                .map(|rate| begun + Duration::from_secs_f64(number as f64 / rate));
            if let Some(due) = due {
                tokio::time::sleep_until(due.into()).await;
            }
            self.sightings.take_place().await?;
            let at = due.unwrap_or_else(Instant::now);
            placed.push((self.place(number).await?, at));
        }
    }

    /// Under one idempotency key, as often as the service asks to come back later.
    async fn place(&mut self, number: usize) -> Result<OrderId> {
        let key = uuid::Uuid::new_v4().to_string();
        let begun = Instant::now();
        loop {
            let mut request = Request::new(self.basket(number));
            request.metadata_mut().insert("idempotency-key", key.parse()?);
            match self.orders.place_order(request).await {
                Ok(answer) => {
                    let order = answer.into_inner().order.context("an answer without an order")?;
                    return Ok(order.order_id.parse()?);
                }
                Err(status) if matches!(status.code(), Code::ResourceExhausted | Code::Unavailable) => {
                    if begun.elapsed() > PATIENCE {
                        bail!("the order service takes no orders: {status}");
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(status) => return Err(status).context("place an order"),
            }
        }
    }

    /// One to three products, one or two pieces of each; every product as often as any other.
    fn basket(&self, number: usize) -> PlaceOrderRequest {
        let item = |n: usize| PlaceOrderItem {
            product_id: self.products[(number * 37 + n * 29) % self.products.len()].to_string(),
            quantity: if (number + n).is_multiple_of(3) { 2 } else { 1 },
        };
        PlaceOrderRequest {
            owner: self.name.clone(),
            items: (0..=number % 3).map(item).collect(),
            payment_method: Some(PaymentMethod {
                method: Some(payment_method::Method::Card(Card {
                    token: "tok_ok".to_owned(),
                })),
            }),
            ..PlaceOrderRequest::default()
        }
    }
}
