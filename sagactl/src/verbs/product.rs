use chrono::{DateTime, Utc};
use quadrille_proto::product::v1::product_service_client::ProductServiceClient;
use quadrille_proto::product::v1::{self as wire, ChangePriceRequest, CreateProductRequest};
use saga_core::Money;
use serde::Serialize;
use tonic::transport::Channel;

use crate::failure::{Code, Failure};
use crate::screen::{self, Output};
use crate::settings::Settings;
use crate::table::{Column, Table};
use crate::{grpc, moment, money};

const EXAMPLES: &str = "\
Examples:
  sagactl product create --name 'Darjeeling, 100 g' --price '12.50 EUR'
  sagactl product price 0190… '11.90 EUR'
  sagactl product list --output json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The product service, http://host:port  [SAGACTL_PRODUCT_GRPC]
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Adds a product.
    Create {
        /// What people call it.
        #[arg(long)]
        name: String,
        /// What one costs, such as '12.50 EUR'.
        #[arg(long, value_parser = money::parse)]
        price: Money,
        /// A UUID of your choice; without it the service gives one.
        #[arg(long)]
        id: Option<String>,
        /// The same key is the same call.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// Changes what one costs, for orders that are placed from now on.
    Price {
        /// UUID of the product.
        product: String,
        /// Such as '12.50 EUR'.
        #[arg(value_parser = money::parse)]
        price: Money,
        /// The same key is the same call.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// Shows the catalogue.
    List,
    /// Shows one product.
    Get {
        /// UUID of the product.
        product: String,
    },
}

/// A product, for people and scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Product {
    pub(crate) product_id: String,
    pub(crate) name: String,
    pub(crate) price: Option<Money>,
    pub(crate) updated_at: Option<DateTime<Utc>>,
}

pub(crate) async fn run(
    arguments: Arguments,
    mut settings: Settings,
    output: Output,
) -> Result<Code, Failure> {
    settings.flag("PRODUCT_GRPC", arguments.server.as_deref());
    let mut client = Catalogue::connect(&settings).await?;
    let product = match arguments.verb {
        Verb::List => {
            let products = client.list().await?;
            screen::show(output, &products, |products| table(products));
            return Ok(Code::Ok);
        }
        Verb::Create {
            name,
            price,
            id,
            idempotency_key,
        } => client.create(name, price, id, idempotency_key).await?,
        Verb::Price {
            product,
            price,
            idempotency_key,
        } => client.change_price(product, price, idempotency_key).await?,
        Verb::Get { product } => client.get(product).await?,
    };
    screen::show(output, &product, |product| table(std::slice::from_ref(product)));
    Ok(Code::Ok)
}

fn table(products: &[Product]) -> Table {
    let mut table = Table::new([
        Column::Left("PRODUCT"),
        Column::Right("PRICE"),
        Column::Left("CHANGED"),
        Column::Left("NAME"),
    ]);
    for product in products {
        table.row([
            product.product_id.clone(),
            money::cell(product.price),
            moment::cell(product.updated_at),
            product.name.clone(),
        ]);
    }
    table
}

/// The product service.
pub(crate) struct Catalogue(ProductServiceClient<Channel>);

impl Catalogue {
    pub(crate) async fn connect(settings: &Settings) -> Result<Self, Failure> {
        let channel = grpc::connect(settings, "PRODUCT_GRPC").await?;
        Ok(Self(ProductServiceClient::new(channel)))
    }

    pub(crate) async fn create(
        &mut self,
        name: String,
        price: Money,
        id: Option<String>,
        key: Option<String>,
    ) -> Result<Product, Failure> {
        let key = grpc::idempotency_key(key);
        let message = CreateProductRequest {
            product_id: id,
            name,
            price: Some(money::to_wire(price)),
        };
        let request = grpc::write(message, &key, &grpc::Trace::begin())?;
        let answer = self.0.create_product(request).await;
        let answer = answer.map_err(|status| grpc::refused_write(status, &key))?;
        read(answer.into_inner().product)
    }

    async fn change_price(
        &mut self,
        product_id: String,
        price: Money,
        key: Option<String>,
    ) -> Result<Product, Failure> {
        let key = grpc::idempotency_key(key);
        let message = ChangePriceRequest {
            product_id,
            price: Some(money::to_wire(price)),
        };
        let request = grpc::write(message, &key, &grpc::Trace::begin())?;
        let answer = self.0.change_price(request).await;
        let answer = answer.map_err(|status| grpc::refused_write(status, &key))?;
        read(answer.into_inner().product)
    }

    async fn get(&mut self, product_id: String) -> Result<Product, Failure> {
        let request = grpc::question(wire::GetProductRequest { product_id });
        let answer = self.0.get_product(request).await.map_err(grpc::refused)?;
        read(answer.into_inner().product)
    }

    async fn list(&mut self) -> Result<Vec<Product>, Failure> {
        let mut products = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = grpc::question(wire::ListProductsRequest {
                page_size: 200,
                page_token,
            });
            let page = self.0.list_products(request).await.map_err(grpc::refused)?;
            let page = page.into_inner();
            products.extend(page.products.into_iter().map(Product::from));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(products);
            }
        }
    }
}

fn read(product: Option<wire::Product>) -> Result<Product, Failure> {
    product
        .map(Product::from)
        .ok_or_else(|| Failure::new(Code::Internal, "the product service answered without a product"))
}

impl From<wire::Product> for Product {
    fn from(product: wire::Product) -> Self {
        Self {
            price: money::from_wire(product.price.as_ref()),
            updated_at: moment::from_wire(product.updated_at.as_ref()),
            product_id: product.product_id,
            name: product.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalogue_is_a_table() {
        let tea = Product {
            product_id: "0190".to_owned(),
            name: "Tea".to_owned(),
            price: money::parse("4.20 EUR").ok(),
            updated_at: DateTime::from_timestamp(1_785_585_600, 0),
        };
        let expected = "\
PRODUCT     PRICE  CHANGED               NAME
0190     4.20 EUR  2026-08-01T12:00:00Z  Tea";
        assert_eq!(table(&[tea]).to_string(), expected);
    }
}
