use quadrille_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use quadrille_proto::inventory::v1::{self as wire, GetStockRequest, ReceiveStockRequest};
use serde::Serialize;
use tonic::transport::Channel;

use crate::failure::{Code, Failure};
use crate::grpc;
use crate::screen::{self, Output};
use crate::settings::Settings;
use crate::table::{Column, Table};

const EXAMPLES: &str = "\
Examples:
  sagactl stock receive 0190… 100
  sagactl stock get 0190…";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The inventory service, http://host:port  [SAGACTL_INVENTORY_GRPC]
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Puts units of a product on the shelf.
    Receive {
        /// UUID of the product.
        product: String,
        /// How many.
        quantity: i64,
        /// The same key is the same call.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// Shows the stock of a product.
    Get {
        /// UUID of the product.
        product: String,
    },
}

/// The units of one product, for people and scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Stock {
    pub(crate) product_id: String,
    pub(crate) received: i64,
    pub(crate) on_hand: i64,
    pub(crate) held: i64,
    pub(crate) sold: i64,
}

impl Stock {
    /// on hand + held + sold = received.
    pub(crate) fn balances(&self) -> bool {
        let parts = [self.on_hand, self.held, self.sold];
        let sum = parts.iter().try_fold(0_i64, |sum, part| sum.checked_add(*part));
        sum == Some(self.received) && parts.iter().all(|part| *part >= 0)
    }
}

pub(crate) async fn run(
    arguments: Arguments,
    mut settings: Settings,
    output: Output,
) -> Result<Code, Failure> {
    settings.flag("INVENTORY_GRPC", arguments.server.as_deref());
    let mut shelf = Shelf::connect(&settings).await?;
    let stock = match arguments.verb {
        Verb::Receive {
            product,
            quantity,
            idempotency_key,
        } => shelf.receive(product, quantity, idempotency_key).await?,
        Verb::Get { product } => shelf.get(product).await?,
    };
    screen::show(output, &stock, table);
    Ok(if stock.balances() { Code::Ok } else { Code::No })
}

fn table(stock: &Stock) -> Table {
    let mut table = Table::new([
        Column::Left("PRODUCT"),
        Column::Right("RECEIVED"),
        Column::Right("ON HAND"),
        Column::Right("HELD"),
        Column::Right("SOLD"),
    ]);
    table.row([
        stock.product_id.clone(),
        stock.received.to_string(),
        stock.on_hand.to_string(),
        stock.held.to_string(),
        stock.sold.to_string(),
    ]);
    table
}

/// The inventory service.
pub(crate) struct Shelf(InventoryServiceClient<Channel>);

impl Shelf {
    pub(crate) async fn connect(settings: &Settings) -> Result<Self, Failure> {
        let channel = grpc::connect(settings, "INVENTORY_GRPC").await?;
        Ok(Self(InventoryServiceClient::new(channel)))
    }

    pub(crate) async fn receive(
        &mut self,
        product_id: String,
        quantity: i64,
        key: Option<String>,
    ) -> Result<Stock, Failure> {
        let key = grpc::idempotency_key(key);
        let message = ReceiveStockRequest { product_id, quantity };
        let request = grpc::write(message, &key, &grpc::Trace::begin())?;
        let answer = self.0.receive_stock(request).await;
        let answer = answer.map_err(|status| grpc::refused_write(status, &key))?;
        read(answer.into_inner().stock)
    }

    pub(crate) async fn get(&mut self, product_id: String) -> Result<Stock, Failure> {
        let request = grpc::question(GetStockRequest { product_id });
        let answer = self.0.get_stock(request).await.map_err(grpc::refused)?;
        read(answer.into_inner().stock)
    }
}

fn read(stock: Option<wire::Stock>) -> Result<Stock, Failure> {
    let stock = stock
        .ok_or_else(|| Failure::new(Code::Internal, "the inventory service answered without a stock"))?;
    Ok(Stock {
        product_id: stock.product_id,
        received: stock.received,
        on_hand: stock.on_hand,
        held: stock.held,
        sold: stock.sold,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock(received: i64, on_hand: i64, held: i64, sold: i64) -> Stock {
        Stock {
            product_id: "0190".to_owned(),
            received,
            on_hand,
            held,
            sold,
        }
    }

    #[test]
    fn a_balance_is_a_sum_of_what_can_be() {
        assert!(stock(10, 7, 1, 2).balances());
        assert!(!stock(10, 7, 1, 3).balances());
        assert!(!stock(10, 11, -1, 0).balances());
        assert!(!stock(-2, i64::MAX, i64::MAX, 0).balances());
    }

    #[test]
    fn a_stock_is_a_table() {
        let expected = "\
PRODUCT  RECEIVED  ON HAND  HELD  SOLD
0190           10        7     1     2";
        assert_eq!(table(&stock(10, 7, 1, 2)).to_string(), expected);
    }
}
