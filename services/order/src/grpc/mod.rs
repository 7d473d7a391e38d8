/// Pages of orders.
mod pages;
/// From a request to the command that it asks for.
mod place;
/// Orders as messages.
mod show;
/// Orders as streams.
mod stream;

use std::sync::Arc;

use chrono::Utc;
use quadrille_contracts::OrderId;
use quadrille_proto::order::v1 as proto;
use quadrille_proto::order::v1::order_service_server::OrderService;
use saga_runtime::Commands;
use saga_runtime::grpc::{self, Violations};
use sqlx::PgPool;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use crate::participant::{Cancel, In, Orders, Refusal};
use crate::store::{self, View};
use crate::watch::Watchers;

/// `quadrille.order.v1.OrderService`.
#[derive(Clone, Debug)]
pub struct Api {
    /// For writes.
    pub commands: Commands<Orders>,
    /// For reads.
    pub pool: PgPool,
    /// For watching.
    pub watchers: Arc<Watchers>,
    /// How long an order may take.
    pub policy: Orders,
}

#[tonic::async_trait]
impl OrderService for Api {
    async fn place_order(
        &self,
        request: Request<proto::PlaceOrderRequest>,
    ) -> Result<Response<proto::PlaceOrderResponse>, Status> {
        let owner = &request.get_ref().owner;
        let id = grpc::idempotency(request.metadata(), owner, "PlaceOrder", request.get_ref())?;
        let timeout = grpc::timeout(request.metadata());
        let command = place::command(request.into_inner(), &id)?;
        let answer = self
            .commands
            .submit(id, Some(command.order_id), In::PlaceOrder(command), timeout)
            .await
            .map_err(|error| grpc::of_command(error, refused))?;
        let order = show::replied(&answer.reply, answer.reply.at);
        Ok(Response::new(proto::PlaceOrderResponse { order: Some(order) }))
    }

    async fn get_order(
        &self,
        request: Request<proto::GetOrderRequest>,
    ) -> Result<Response<proto::GetOrderResponse>, Status> {
        let view = self.read(order_id(&request.get_ref().order_id)?).await?;
        let order = Some(show::order(&view));
        Ok(Response::new(proto::GetOrderResponse { order }))
    }

    async fn list_orders(
        &self,
        request: Request<proto::ListOrdersRequest>,
    ) -> Result<Response<proto::ListOrdersResponse>, Status> {
        let page = pages::Page::asked(request.get_ref())?;
        // One more than the page, to see whether there is a next one.
        let views = store::list(&self.pool, &page.filter, page.after, page.size + 1)
            .await
            .map_err(|error| grpc::of_database("list orders", &error))?;
        Ok(Response::new(page.of(&views)))
    }

    async fn cancel_order(
        &self,
        request: Request<proto::CancelOrderRequest>,
    ) -> Result<Response<proto::CancelOrderResponse>, Status> {
        // Who cancels is not known before there is a gateway that knows callers.
        let id = grpc::idempotency(request.metadata(), "", "CancelOrder", request.get_ref())?;
        let timeout = grpc::timeout(request.metadata());
        let order_id = order_id(&request.get_ref().order_id)?;
        let answer = self
            .commands
            .submit(id, Some(order_id), In::Cancel(Cancel { order_id }), timeout)
            .await
            .map_err(|error| grpc::of_command(error, refused))?;
        let created_at = self.read(order_id).await?.created_at;
        let order = Some(show::replied(&answer.reply, created_at));
        Ok(Response::new(proto::CancelOrderResponse { order }))
    }

    type WatchOrderStream = stream::WatchOrderStream;

    async fn watch_order(
        &self,
        request: Request<proto::WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        let timeout = grpc::timeout(request.metadata());
        let order_id = order_id(&request.get_ref().order_id)?;
        let watcher = self
            .watchers
            .watch(order_id)
            .ok_or_else(|| grpc::overloaded("too many orders are being watched"))?;
        let found = self.read(order_id).await?;
        let patience = stream::patience(&self.policy, &found, Utc::now());
        Ok(Response::new(stream::of(watcher, found, timeout, patience)))
    }
}

impl Api {
    async fn read(&self, order_id: OrderId) -> Result<View, Status> {
        store::read(&self.pool, &[order_id])
            .await
            .map_err(|error| grpc::of_database("read an order", &error))?
            .pop()
            .ok_or_else(|| refused(Refusal::NotFound(order_id)))
    }
}

fn order_id(text: &str) -> Result<OrderId, Status> {
    let mut violations = Violations::default();
    let id = violations.check("order_id", text.parse::<Uuid>(), "has to be a UUID");
    violations.finish(id.map(OrderId))
}

fn refused(refusal: Refusal) -> Status {
    let message = refusal.to_string();
    let (code, reason) = match refusal {
        Refusal::UnknownProducts { .. } => (Code::FailedPrecondition, "UNKNOWN_PRODUCT"),
        Refusal::CurrencyMismatch { .. } => (Code::FailedPrecondition, "CURRENCY_MISMATCH"),
        Refusal::Overflow => (Code::FailedPrecondition, "TOTAL_TOO_LARGE"),
        Refusal::AlreadyPlaced(_) => (Code::AlreadyExists, "ORDER_EXISTS"),
        Refusal::NotFound(_) => (Code::NotFound, "ORDER_NOT_FOUND"),
        Refusal::NotPending(_) => (Code::FailedPrecondition, "ORDER_NOT_PENDING"),
    };
    grpc::failure(code, reason, message)
}
