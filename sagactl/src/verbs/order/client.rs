use quadrille_proto::order::v1::order_service_client::OrderServiceClient;
use quadrille_proto::order::v1::{
    self as wire, CancelOrderRequest, GetOrderRequest, ListOrdersRequest, OrderStatus, PlaceOrderRequest,
    WatchOrderRequest, WatchOrderResponse,
};
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use super::view::{Change, Order};
use crate::failure::{Code, Failure};
use crate::settings::Settings;
use crate::{grpc, moment};

/// The order service.
#[derive(Clone)]
pub(crate) struct Orders(OrderServiceClient<Channel>);

impl Orders {
    pub(crate) async fn connect(settings: &Settings) -> Result<Self, Failure> {
        let channel = grpc::connect(settings, "ORDER_GRPC").await?;
        Ok(Self(OrderServiceClient::new(channel)))
    }

    /// Says where to find the trace, too.
    pub(crate) async fn place(
        &mut self,
        message: PlaceOrderRequest,
        key: &str,
    ) -> Result<(Order, grpc::Trace), Failure> {
        let trace = grpc::Trace::begin();
        let request = grpc::write(message, key, &trace)?;
        let answer = self.0.place_order(request).await;
        let answer = answer.map_err(|status| grpc::refused_write(status, key))?;
        Ok((read(answer.into_inner().order)?, trace))
    }

    pub(crate) async fn get(&mut self, order_id: String) -> Result<Order, Failure> {
        let request = grpc::question(GetOrderRequest { order_id });
        let answer = self.0.get_order(request).await.map_err(grpc::refused)?;
        read(answer.into_inner().order)
    }

    /// The newest `limit` orders that fit.
    pub(crate) async fn list(
        &mut self,
        owner: String,
        status: Option<OrderStatus>,
        limit: usize,
    ) -> Result<Vec<Order>, Failure> {
        let mut orders: Vec<Order> = Vec::new();
        let mut page_token = String::new();
        loop {
            let left = limit.saturating_sub(orders.len());
            if left == 0 {
                return Ok(orders);
            }
            let request = grpc::question(ListOrdersRequest {
                owner: owner.clone(),
                status: status.unwrap_or_default().into(),
                page_size: i32::try_from(left.min(200)).unwrap_or(200),
                page_token,
            });
            let page = self.0.list_orders(request).await.map_err(grpc::refused)?;
            let page = page.into_inner();
            orders.extend(page.orders.into_iter().map(Order::from));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                orders.truncate(limit);
                return Ok(orders);
            }
        }
    }

    pub(crate) async fn cancel(&mut self, order_id: String, key: &str) -> Result<Order, Failure> {
        let request = grpc::write(CancelOrderRequest { order_id }, key, &grpc::Trace::begin())?;
        let answer = self.0.cancel_order(request).await;
        let answer = answer.map_err(|status| grpc::refused_write(status, key))?;
        read(answer.into_inner().order)
    }

    /// Without a deadline: a customer may take a day to pay.
    pub(crate) async fn watch(&mut self, order_id: String) -> Result<Changes, Failure> {
        let request = Request::new(WatchOrderRequest { order_id });
        let answer = self.0.watch_order(request).await.map_err(grpc::refused)?;
        Ok(Changes(answer.into_inner()))
    }
}

/// What happens to an order, until its saga has ended.
pub(crate) struct Changes(Streaming<WatchOrderResponse>);

impl Changes {
    pub(crate) async fn next(&mut self) -> Result<Option<Change>, Failure> {
        let Some(message) = self.0.message().await.map_err(grpc::refused)? else {
            return Ok(None);
        };
        let (event, occurred_at) = match message.event {
            None => (None, None),
            Some(event) => (Some(event.name), moment::from_wire(event.occurred_at.as_ref())),
        };
        Ok(Some(Change {
            event,
            occurred_at,
            order: read(message.order)?,
        }))
    }
}

fn read(order: Option<wire::Order>) -> Result<Order, Failure> {
    order
        .map(Order::from)
        .ok_or_else(|| Failure::new(Code::Internal, "the order service answered without an order"))
}
