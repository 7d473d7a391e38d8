use quadrille_contracts::ProductId;
use quadrille_proto::inventory::v1 as proto;
use quadrille_proto::inventory::v1::inventory_service_server::InventoryService;
use saga_runtime::Commands;
use saga_runtime::grpc::{self, Violations};
use sqlx::PgPool;
use tonic::{Code, Request, Response, Status};

use crate::participant::{In, Inventory, ReceiveStock, Refusal, Shelf};
use crate::store;

/// `quadrille.inventory.v1.InventoryService`.
#[derive(Clone, Debug)]
pub struct Api {
    /// For writes.
    pub commands: Commands<Inventory>,
    /// For reads.
    pub pool: PgPool,
    /// The policy, of which callers are told.
    pub inventory: Inventory,
}

#[tonic::async_trait]
impl InventoryService for Api {
    async fn receive_stock(
        &self,
        request: Request<proto::ReceiveStockRequest>,
    ) -> Result<Response<proto::ReceiveStockResponse>, Status> {
        // There are no callers to tell apart before there is a gateway that knows them.
        let id = grpc::idempotency(request.metadata(), "", "ReceiveStock", request.get_ref())?;
        let timeout = grpc::timeout(request.metadata());
        let command = self.checked(request.get_ref())?;
        let answer = self
            .commands
            .submit(id, None, In::ReceiveStock(command), timeout)
            .await
            .map_err(|error| grpc::of_command(error, refused))?;
        Ok(Response::new(proto::ReceiveStockResponse {
            stock: Some(stock(command.product_id, &answer.reply)?),
        }))
    }

    async fn get_stock(
        &self,
        request: Request<proto::GetStockRequest>,
    ) -> Result<Response<proto::GetStockResponse>, Status> {
        let mut violations = Violations::default();
        let product_id = product_id(&mut violations, &request.get_ref().product_id);
        let product_id = violations.finish(product_id)?;
        let shelf = store::shelf(&self.pool, product_id)
            .await
            .map_err(|error| grpc::of_database("show stock", &error))?
            .ok_or_else(|| {
                let message = format!("none of product {product_id} ever came in");
                grpc::failure(Code::NotFound, "STOCK_NOT_FOUND", message)
            })?;
        Ok(Response::new(proto::GetStockResponse {
            stock: Some(stock(product_id, &shelf)?),
        }))
    }
}

impl Api {
    /// The command, if everything about the request is right.
    fn checked(&self, request: &proto::ReceiveStockRequest) -> Result<ReceiveStock, Status> {
        let mut violations = Violations::default();
        let product_id = product_id(&mut violations, &request.product_id);
        let max = self.inventory.max_receipt;
        let quantity = u64::try_from(request.quantity)
            .ok()
            .filter(|quantity| (1..=max).contains(quantity));
        if quantity.is_none() {
            violations.add(
                "quantity",
                format_args!("has to be 1 to {max}, not {}", request.quantity),
            );
        }
        violations.finish(
            product_id
                .zip(quantity)
                .map(|(product_id, quantity)| ReceiveStock { product_id, quantity }),
        )
    }
}

fn product_id(violations: &mut Violations, text: &str) -> Option<ProductId> {
    violations.check("product_id", text.parse::<ProductId>(), "has to be a UUID")
}

fn refused(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Quantity { .. } => {
            let mut violations = Violations::default();
            violations.add("quantity", refusal);
            violations.status()
        }
        Refusal::ShelfFull => grpc::failure(Code::FailedPrecondition, "SHELF_FULL", refusal.to_string()),
    }
}

fn stock(product_id: ProductId, shelf: &Shelf) -> Result<proto::Stock, Status> {
    // No shelf counts further than this, so it cannot fail.
    let units = |units: u64| {
        i64::try_from(units)
            .map_err(|_| grpc::failure(Code::Internal, "INTERNAL", "the service made a mistake"))
    };
    Ok(proto::Stock {
        product_id: product_id.to_string(),
        received: units(shelf.received)?,
        on_hand: units(shelf.on_hand)?,
        held: units(shelf.held)?,
        sold: units(shelf.sold)?,
    })
}
