use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use quadrille_contracts::{OrderId, ProductId};
use quadrille_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use quadrille_proto::inventory::v1::{GetStockRequest, ReceiveStockRequest};
use quadrille_proto::order::v1::order_service_client::OrderServiceClient;
use quadrille_proto::order::v1::{
    CancelOrderRequest, Card, GetOrderRequest, HostedPage, ListOrdersRequest, Order, PaymentMethod,
    PlaceOrderItem, PlaceOrderRequest, WatchOrderRequest, payment_method,
};
use quadrille_proto::payment::v1::payment_service_client::PaymentServiceClient;
use quadrille_proto::payment::v1::{GetPaymentRequest, Payment};
use quadrille_proto::product::v1::CreateProductRequest;
use quadrille_proto::product::v1::product_service_client::ProductServiceClient;
use quadrille_proto::r#type::v1::Money;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::system::System;
use crate::wait::{PATIENCE, until};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(4);
const CURRENCY: &str = "EUR";

/// How an order is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pays {
    /// With a card of the sandbox: `tok_ok`.
    Card(&'static str),
    /// On a page of the provider.
    Page,
}

/// A customer who keeps account of what was ordered, and the keeper of the shop who fills the shelves.
///
/// Calls are repeated under the same idempotency key while the service is away, as a proper client does it.
#[derive(Debug)]
pub struct Customer {
    /// The owner of the orders.
    pub name: String,
    orders: OrderServiceClient<Channel>,
    products: ProductServiceClient<Channel>,
    stock: InventoryServiceClient<Channel>,
    payments: PaymentServiceClient<Channel>,
    accepted: Mutex<Vec<OrderId>>,
    delivered: Mutex<BTreeMap<ProductId, i64>>,
}

impl Customer {
    /// A customer whom the shop has not seen before.
    ///
    /// # Errors
    /// None that is not a mistake of this suite.
    pub fn of(system: &System) -> Result<Self> {
        let channel = |name: &str| -> Result<Channel> {
            Ok(Endpoint::from_shared(system.address(name))?
                .connect_timeout(Duration::from_secs(2))
                .connect_lazy())
        };
        Ok(Self {
            name: format!("customer-{}", Uuid::new_v4().simple()),
            orders: OrderServiceClient::new(channel("order")?),
            products: ProductServiceClient::new(channel("product")?),
            stock: InventoryServiceClient::new(channel("inventory")?),
            payments: PaymentServiceClient::new(channel("payment")?),
            accepted: Mutex::default(),
            delivered: Mutex::default(),
        })
    }

    /// A new product, with so many units of it on the shelf; returns once it can be ordered.
    ///
    /// # Errors
    /// What a service said.
    pub async fn product(&self, price_minor: i64, units: i64) -> Result<ProductId> {
        let product = ProductId(Uuid::new_v4());
        self.create(product, CURRENCY, price_minor).await?;
        self.deliver(product, units).await?;
        Ok(product)
    }

    /// A new product without any units, in any currency; returns once it can be ordered.
    ///
    /// # Errors
    /// What a service said.
    pub async fn create(&self, product: ProductId, currency: &str, price_minor: i64) -> Result<()> {
        let request = CreateProductRequest {
            product_id: Some(product.to_string()),
            name: "a thing".to_owned(),
            price: Some(Money {
                currency_code: currency.to_owned(),
                minor_units: price_minor,
            }),
        };
        let key = Uuid::new_v4().to_string();
        let client = &self.products;
        insist(async || client.clone().create_product(keyed(request.clone(), &key)).await)
            .await
            .map_err(said("create a product"))?;
        // The order service hears of it through the topic. Who expects a foreign currency orders nothing, and is
        // told why not.
        until("the price of a new product", async || {
            let probe = PlaceOrderRequest {
                expected_currency_code: Some("XTS".to_owned()),
                ..self.basket(&[(product, 1)], Pays::Card("tok_ok"))
            };
            match self.try_place(probe, None).await {
                Err(status)
                    if reason(&status) != "UNKNOWN_PRODUCT" && status.code() == Code::FailedPrecondition =>
                {
                    Ok(())
                }
                Err(status) => Err(format!("{status:?}")),
                Ok(order) => Err(format!("an order in no currency was taken: {order:?}")),
            }
        })
        .await
    }

    /// Puts units on a shelf.
    ///
    /// # Errors
    /// What inventory said.
    pub async fn deliver(&self, product: ProductId, units: i64) -> Result<()> {
        lock(&self.delivered).entry(product).or_default();
        if units == 0 {
            return Ok(());
        }
        let request = ReceiveStockRequest {
            product_id: product.to_string(),
            quantity: units,
        };
        let key = Uuid::new_v4().to_string();
        let client = &self.stock;
        insist(async || client.clone().receive_stock(keyed(request.clone(), &key)).await)
            .await
            .map_err(said("deliver stock"))?;
        *lock(&self.delivered).entry(product).or_default() += units;
        Ok(())
    }

    /// Waits until so many units of a product can be had.
    ///
    /// # Errors
    /// If it does not come to that.
    pub async fn shelf(&self, product: ProductId, available: i64) -> Result<()> {
        let request = GetStockRequest {
            product_id: product.to_string(),
        };
        until("units to be back on the shelf", async || {
            let client = &self.stock;
            let answer = insist(async || client.clone().get_stock(request.clone()).await)
                .await
                .map_err(said("look at the stock"))?;
            let there = answer.stock.map(|stock| stock.on_hand);
            ensure!(
                there == Some(available),
                "{there:?} of {product}, not {available}"
            );
            Ok(())
        })
        .await
    }

    /// The request for a basket.
    pub fn basket(&self, items: &[(ProductId, i64)], pays: Pays) -> PlaceOrderRequest {
        let method = match pays {
            Pays::Card(token) => payment_method::Method::Card(Card {
                token: token.to_owned(),
            }),
            Pays::Page => payment_method::Method::HostedPage(HostedPage {}),
        };
        let items = items.iter().map(|(product, quantity)| PlaceOrderItem {
            product_id: product.to_string(),
            quantity: *quantity,
        });
        PlaceOrderRequest {
            owner: self.name.clone(),
            items: items.collect(),
            payment_method: Some(PaymentMethod { method: Some(method) }),
            expected_currency_code: None,
        }
    }

    /// Orders, however often that has to be tried.
    ///
    /// # Errors
    /// If the order is not taken.
    pub async fn place(&self, items: &[(ProductId, i64)], pays: Pays) -> Result<OrderId> {
        let key = Uuid::new_v4().to_string();
        let order = self
            .try_place(self.basket(items, pays), Some(&key))
            .await
            .map_err(said("place an order"))?;
        Ok(order.order_id.parse()?)
    }

    /// The order that a request to place one makes under a key, before it is sent.
    pub fn order_under(&self, key: &str) -> OrderId {
        let command = saga_core::id::of_command(&self.name, "PlaceOrder", key);
        OrderId(Uuid::new_v5(&command, b"order"))
    }

    /// Sends any request to place an order; is away only if the service is for long.
    ///
    /// # Errors
    /// Why it was refused.
    pub async fn try_place(&self, request: PlaceOrderRequest, key: Option<&str>) -> Result<Order, Status> {
        let made = Uuid::new_v4().to_string();
        let key = key.unwrap_or(&made);
        let client = &self.orders;
        let answer = insist(async || client.clone().place_order(keyed(request.clone(), key)).await).await?;
        let order = answer
            .order
            .ok_or_else(|| Status::internal("an answer without an order"))?;
        let id = order
            .order_id
            .parse()
            .map_err(|_| Status::internal("an order without an id"))?;
        let mut accepted = lock(&self.accepted);
        if !accepted.contains(&id) {
            accepted.push(id);
        }
        drop(accepted);
        Ok(order)
    }

    /// Cancels.
    ///
    /// # Errors
    /// Why it was refused.
    pub async fn cancel(&self, order: OrderId) -> Result<Order, Status> {
        let request = CancelOrderRequest {
            order_id: order.to_string(),
        };
        let key = Uuid::new_v4().to_string();
        let client = &self.orders;
        let answer = insist(async || client.clone().cancel_order(keyed(request.clone(), &key)).await).await?;
        answer
            .order
            .ok_or_else(|| Status::internal("an answer without an order"))
    }

    /// An order as it is now.
    ///
    /// # Errors
    /// If there is none.
    pub async fn order(&self, order: OrderId) -> Result<Order> {
        let request = GetOrderRequest {
            order_id: order.to_string(),
        };
        let client = &self.orders;
        let answer = insist(async || client.clone().get_order(timed(request.clone())).await).await;
        answer
            .map_err(said("get an order"))?
            .order
            .context("an answer without an order")
    }

    /// The payment of an order as it is now; none before the service has heard of the order.
    ///
    /// # Errors
    /// What payment said.
    pub async fn payment(&self, order: OrderId) -> Result<Option<Payment>> {
        let request = GetPaymentRequest {
            order_id: order.to_string(),
        };
        let client = &self.payments;
        match insist(async || client.clone().get_payment(timed(request.clone())).await).await {
            Ok(answer) => Ok(answer.payment),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(said("get a payment")(status)),
        }
    }

    /// Watches an order until its stream ends, as often as the stream breaks.
    ///
    /// # Errors
    /// If it does not end within [`PATIENCE`].
    pub async fn watch(&self, order: OrderId) -> Result<Order> {
        let mut last = None;
        let watched = tokio::time::timeout(PATIENCE, async {
            loop {
                let request = WatchOrderRequest {
                    order_id: order.to_string(),
                };
                if let Ok(stream) = self.orders.clone().watch_order(request).await {
                    let mut stream = stream.into_inner();
                    loop {
                        match stream.message().await {
                            Ok(Some(message)) => last = message.order,
                            Ok(None) if last.as_ref().is_some_and(|order| order.ended) => return,
                            Ok(None) | Err(_) => break,
                        }
                    }
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let in_time = watched.await.is_ok();
        ensure!(
            in_time,
            "order {order} did not end within {} s; it was {last:?}",
            PATIENCE.as_secs()
        );
        last.context("a watched order")
    }

    /// Every order of this customer that the service has, page by page.
    ///
    /// # Errors
    /// What the service said.
    pub async fn everything(&self) -> Result<Vec<Order>> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListOrdersRequest {
                owner: self.name.clone(),
                page_size: 200,
                page_token: page_token.clone(),
                ..Default::default()
            };
            let client = &self.orders;
            let page = insist(async || client.clone().list_orders(timed(request.clone())).await)
                .await
                .map_err(said("list orders"))?;
            all.extend(page.orders);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            page_token = page.next_page_token;
        }
    }

    /// The orders that were taken.
    pub fn accepted(&self) -> Vec<OrderId> {
        lock(&self.accepted).clone()
    }

    /// The products that were made, and how many units of each were delivered.
    pub fn delivered(&self) -> BTreeMap<ProductId, i64> {
        lock(&self.delivered).clone()
    }
}

/// The `reason` of an error's `google.rpc.ErrorInfo`; empty if it has none.
pub fn reason(status: &Status) -> String {
    status
        .get_details_error_info()
        .map_or_else(String::new, |info| info.reason)
}

/// Repeats a call while nobody answers it.
pub(crate) async fn insist<T>(
    mut call: impl AsyncFnMut() -> Result<Response<T>, Status>,
) -> Result<T, Status> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(20);
    loop {
        match call().await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) if !is_passing(&status) || begun.elapsed() > PATIENCE => return Err(status),
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

/// Whether the call may be repeated: nobody answered it, or was in a state to.
fn is_passing(status: &Status) -> bool {
    let code = matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
    );
    // A connection that breaks under a call makes an error of some other code, on our side of it. A service's own
    // always says its reason.
    let broke_off = matches!(status.code(), Code::Internal | Code::Unknown) && reason(status).is_empty();
    code || broke_off || status.source().is_some()
}

pub(crate) fn keyed<T>(message: T, key: &str) -> Request<T> {
    let mut request = timed(message);
    if let Ok(value) = key.parse() {
        request.metadata_mut().insert("idempotency-key", value);
    }
    request
}

pub(crate) fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ATTEMPT);
    request
}

pub(crate) fn said(doing: &'static str) -> impl Fn(Status) -> anyhow::Error {
    move |status| {
        anyhow!(
            "cannot {doing}: {} {} ({})",
            status.code(),
            status.message(),
            reason(&status)
        )
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
