//! The catalogue's decisions. It takes part in no saga: others keep read models of what it publishes.

use chrono::{DateTime, Utc};
use quadrille_contracts::{ProductId, product};
use saga_core::{
    At, Currency, Decision, Fault, Inputs, Money, Nothing, Outputs, Participant, Step, View, steps,
};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// The catalogue has no policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Catalogue;

/// What is known of one product.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Product {
    /// There is none of this id.
    #[default]
    Absent,
    /// It can be ordered.
    Listed(Listing),
}

/// A product that is for sale.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Listing {
    /// Which.
    pub product_id: ProductId,
    /// What people call it.
    pub name: String,
    /// What one costs.
    pub price: Money,
}

/// Change the price of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChangePrice {
    /// Of which.
    pub product_id: ProductId,
    /// What one costs from now on.
    pub price: Money,
}

/// What the catalogue reacts to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Inputs)]
pub enum In {
    /// Add a product.
    #[command]
    Create(Listing),
    /// Change its price.
    #[command]
    ChangePrice(ChangePrice),
}

/// What the catalogue puts out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
pub enum Out {
    /// There is a new product.
    #[event]
    Created(product::Created),
    /// It has another price.
    #[event]
    PriceChanged(product::PriceChanged),
}

/// What the caller of a command is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The product as this command left it.
    pub listing: Listing,
    /// When.
    pub at: DateTime<Utc>,
}

/// Why the catalogue was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The id is taken.
    #[error("product {0} already exists")]
    AlreadyExists(ProductId),
    /// There is no such product.
    #[error("there is no product {0}")]
    NotFound(ProductId),
    /// Nothing is free, and nobody is paid for taking it.
    #[error("a price is greater than zero, not {0}")]
    NotPositive(Money),
    /// Orders that mix currencies would follow.
    #[error("the product is priced in {priced}, which does not change to {asked}")]
    CurrencyChange {
        /// The currency that it has.
        priced: Currency,
        /// The currency that was asked for.
        asked: Currency,
    },
}

impl Participant for Catalogue {
    const NAME: &'static str = "product";
    const STEPS: &'static [Step] = steps! { In, Out;
        Create      => [Created];
        ChangePrice => [PriceChanged];
    };
    type Key = ProductId;
    type State = Product;
    type SharedKey = Nothing;
    type Shared = ();
    type Input = In;
    type Output = Out;
    type Reply = Reply;
    type Refusal = Refusal;

    fn key(&self, input: &In) -> Option<ProductId> {
        match input {
            In::Create(command) => Some(command.product_id),
            In::ChangePrice(command) => Some(command.product_id),
        }
    }

    fn decide(
        &self,
        product: Product,
        _: &mut View<'_, Nothing, ()>,
        at: At<In>,
    ) -> Result<Decision<Self>, Fault> {
        let now = at.now;
        Ok(match (product, at.input) {
            (product, In::Create(Listing { price, .. }) | In::ChangePrice(ChangePrice { price, .. }))
                if price.minor <= 0 =>
            {
                Decision::refuse(product, Refusal::NotPositive(price))
            }
            (Product::Absent, In::Create(listing)) => {
                let Listing {
                    product_id,
                    name,
                    price,
                } = listing.clone();
                Decision::to(Product::Listed(listing.clone()))
                    .emit(Out::Created(product::Created {
                        product_id,
                        name,
                        price,
                    }))
                    .reply(Reply { listing, at: now })
            }
            (product @ Product::Listed(_), In::Create(Listing { product_id, .. })) => {
                Decision::refuse(product, Refusal::AlreadyExists(product_id))
            }
            (product @ Product::Absent, In::ChangePrice(ChangePrice { product_id, .. })) => {
                Decision::refuse(product, Refusal::NotFound(product_id))
            }
            (Product::Listed(listing), In::ChangePrice(ChangePrice { price, .. }))
                if price.currency != listing.price.currency =>
            {
                let (priced, asked) = (listing.price.currency, price.currency);
                Decision::refuse(
                    Product::Listed(listing),
                    Refusal::CurrencyChange { priced, asked },
                )
            }
            // What it costs already: no news for anybody.
            (Product::Listed(listing), In::ChangePrice(ChangePrice { price, .. }))
                if price == listing.price =>
            {
                Decision::to(Product::Listed(listing.clone())).reply(Reply { listing, at: now })
            }
            (Product::Listed(listing), In::ChangePrice(ChangePrice { product_id, price })) => {
                let listing = Listing { price, ..listing };
                Decision::to(Product::Listed(listing.clone()))
                    .emit(Out::PriceChanged(product::PriceChanged { product_id, price }))
                    .reply(Reply { listing, at: now })
            }
        })
    }

    /// A product stays.
    fn is_ended(&self, _: &Product) -> bool {
        false
    }
}
