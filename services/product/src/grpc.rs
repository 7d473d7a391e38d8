use chrono::{DateTime, Utc};
use quadrille_contracts::ProductId;
use quadrille_proto::product::v1::product_service_server::ProductService;
use quadrille_proto::product::v1::{
    ChangePriceRequest, ChangePriceResponse, CreateProductRequest, CreateProductResponse, GetProductRequest,
    GetProductResponse, ListProductsRequest, ListProductsResponse, Product,
};
use quadrille_proto::r#type::v1 as proto;
use saga_core::{Currency, Money};
use saga_runtime::grpc::{
    PageToken, Violations, failure, idempotency, of_command, of_database, page_size, timeout, timestamp,
};
use saga_runtime::{Answer, Commands};
use sqlx::PgPool;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use crate::participant::{Catalogue, ChangePrice, In, Listing, Refusal};
use crate::store::{self, Entry};

/// Who creates products is not known in a trusted network, so their keys share one room.
const OWNER: &str = "";

const NAME_MAX_BYTES: usize = 200;
const UUID: &str = "has to be a UUID other than the nil one";
const LIST: PageToken<'static> = PageToken { list: &["products"] };

/// `quadrille.product.v1.ProductService`.
#[derive(Debug)]
pub struct Api {
    /// For writes.
    pub commands: Commands<Catalogue>,
    /// For reads.
    pub pool: PgPool,
}

#[tonic::async_trait]
impl ProductService for Api {
    async fn create_product(
        &self,
        request: Request<CreateProductRequest>,
    ) -> Result<Response<CreateProductResponse>, Status> {
        let id = idempotency(request.metadata(), OWNER, "CreateProduct", request.get_ref())?;
        let timeout = timeout(request.metadata());
        let CreateProductRequest {
            product_id,
            name,
            price,
        } = request.into_inner();

        let mut violations = Violations::default();
        let product_id = match product_id {
            Some(text) => parse_id("product_id", &text, &mut violations),
            // Derived, so that the same call creates the same product.
            None => Some(ProductId(Uuid::new_v5(
                &saga_core::id::of_command(&id.owner, &id.method, &id.key),
                b"product",
            ))),
        };
        violations.text("name", &name, 1, NAME_MAX_BYTES);
        let price = parse_price(price, &mut violations);
        let (product_id, price) = violations.finish(product_id.zip(price))?;

        let listing = Listing {
            product_id,
            name,
            price,
        };
        let Answer { reply, .. } = self
            .commands
            .submit(id, Some(product_id), In::Create(listing), timeout)
            .await
            .map_err(|error| of_command(error, refused))?;
        Ok(Response::new(CreateProductResponse {
            product: Some(show(reply.listing, reply.at, reply.at)),
        }))
    }

    async fn change_price(
        &self,
        request: Request<ChangePriceRequest>,
    ) -> Result<Response<ChangePriceResponse>, Status> {
        let id = idempotency(request.metadata(), OWNER, "ChangePrice", request.get_ref())?;
        let timeout = timeout(request.metadata());
        let ChangePriceRequest { product_id, price } = request.into_inner();

        let mut violations = Violations::default();
        let product_id = parse_id("product_id", &product_id, &mut violations);
        let price = parse_price(price, &mut violations);
        let (product_id, price) = violations.finish(product_id.zip(price))?;

        let change = In::ChangePrice(ChangePrice { product_id, price });
        let Answer { reply, .. } = self
            .commands
            .submit(id, Some(product_id), change, timeout)
            .await
            .map_err(|error| of_command(error, refused))?;
        let created_at = self.get(product_id).await?.created_at;
        Ok(Response::new(ChangePriceResponse {
            product: Some(show(reply.listing, created_at, reply.at)),
        }))
    }

    async fn get_product(
        &self,
        request: Request<GetProductRequest>,
    ) -> Result<Response<GetProductResponse>, Status> {
        let mut violations = Violations::default();
        let product_id = parse_id("product_id", &request.get_ref().product_id, &mut violations);
        let entry = self.get(violations.finish(product_id)?).await?;
        Ok(Response::new(GetProductResponse {
            product: Some(show_entry(entry)),
        }))
    }

    async fn list_products(
        &self,
        request: Request<ListProductsRequest>,
    ) -> Result<Response<ListProductsResponse>, Status> {
        let ListProductsRequest {
            page_size: size,
            page_token,
        } = request.into_inner();
        let mut violations = Violations::default();
        let size = page_size(size, &mut violations);
        let after = match page_token.as_str() {
            "" => None,
            token => {
                let place = LIST.read(token).and_then(|place| Uuid::from_slice(&place).ok());
                violations.check("page_token", place.ok_or(()), "is none of this list's")
            }
        };
        violations.finish(Some(()))?;

        // One more than the page, to see whether there is a next one.
        let mut entries = store::list(&self.pool, after.map(ProductId), size + 1)
            .await
            .map_err(|error| of_database("list products", &error))?;
        let page = usize::try_from(size).expect("a page is small");
        let more = entries.len() > page;
        entries.truncate(page);
        let next_page_token = match entries.last() {
            Some(last) if more => LIST.write(last.listing.product_id.0.as_bytes()),
            _ => String::new(),
        };
        Ok(Response::new(ListProductsResponse {
            products: entries.into_iter().map(show_entry).collect(),
            next_page_token,
        }))
    }
}

impl Api {
    async fn get(&self, product_id: ProductId) -> Result<Entry, Status> {
        store::get(&self.pool, product_id)
            .await
            .map_err(|error| of_database("read a product", &error))?
            .ok_or_else(|| refused(Refusal::NotFound(product_id)))
    }
}

fn refused(refusal: Refusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::AlreadyExists(_) => failure(Code::AlreadyExists, "PRODUCT_EXISTS", message),
        Refusal::NotFound(_) => failure(Code::NotFound, "PRODUCT_NOT_FOUND", message),
        Refusal::NotPositive(_) => failure(Code::InvalidArgument, "PRICE_NOT_POSITIVE", message),
        Refusal::CurrencyChange { .. } => failure(Code::FailedPrecondition, "CURRENCY_MISMATCH", message),
    }
}

fn parse_id(field: &str, text: &str, violations: &mut Violations) -> Option<ProductId> {
    let id = text.parse::<Uuid>().ok().filter(|id| !id.is_nil());
    violations.check(field, id.ok_or(()), UUID).map(ProductId)
}

fn parse_price(price: Option<proto::Money>, violations: &mut Violations) -> Option<Money> {
    let Some(price) = price else {
        violations.add("price", "is required");
        return None;
    };
    if price.minor_units <= 0 {
        violations.add("price.minor_units", "has to be greater than 0");
    }
    violations
        .check(
            "price.currency_code",
            price.currency_code.parse::<Currency>(),
            "has to be three capital letters, as ISO 4217 lists them",
        )
        .map(|currency| Money::new(price.minor_units, currency))
}

fn show_entry(entry: Entry) -> Product {
    show(entry.listing, entry.created_at, entry.updated_at)
}

fn show(listing: Listing, created_at: DateTime<Utc>, updated_at: DateTime<Utc>) -> Product {
    Product {
        product_id: listing.product_id.to_string(),
        name: listing.name,
        price: Some(proto::Money {
            currency_code: listing.price.currency.to_string(),
            minor_units: listing.price.minor,
        }),
        created_at: Some(timestamp(created_at)),
        updated_at: Some(timestamp(updated_at)),
    }
}
