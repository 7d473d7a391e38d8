use std::collections::BTreeSet;

use quadrille_contracts::ProductId;

/// What a customer asks for: 1 to [`Basket::MAX_ITEMS`] items, each product once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Basket(Vec<Item>);

/// So many of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    /// Which product.
    pub product_id: ProductId,
    /// How many: 1 to [`Basket::MAX_QUANTITY`].
    pub quantity: u32,
}

/// Why something is no basket. `index` is that of the item that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BasketError {
    /// There is nothing in it.
    #[error("an order has at least one item")]
    Empty,
    /// There is too much in it.
    #[error("an order has at most {} items, not {found}", Basket::MAX_ITEMS)]
    TooManyItems {
        /// How many there are.
        found: usize,
    },
    /// None of a product, or absurdly many.
    #[error("a quantity is from 1 to {}, not {found}", Basket::MAX_QUANTITY)]
    Quantity {
        /// Of which item.
        index: usize,
        /// The quantity.
        found: u32,
    },
    /// A product comes twice.
    #[error("product {product_id} is in the order twice")]
    Twice {
        /// The second of the two items.
        index: usize,
        /// The product.
        product_id: ProductId,
    },
}

impl Basket {
    /// The most items of an order.
    pub const MAX_ITEMS: usize = 100;
    /// The most units of one product in an order.
    pub const MAX_QUANTITY: u32 = 10_000;

    /// A basket of these items, in this order.
    ///
    /// # Errors
    /// [`BasketError`] names what is wrong first.
    pub fn new(items: Vec<Item>) -> Result<Self, BasketError> {
        if items.is_empty() {
            return Err(BasketError::Empty);
        }
        if items.len() > Self::MAX_ITEMS {
            return Err(BasketError::TooManyItems { found: items.len() });
        }
        let mut seen = BTreeSet::new();
        for (index, &Item { product_id, quantity }) in items.iter().enumerate() {
            if !(1..=Self::MAX_QUANTITY).contains(&quantity) {
                return Err(BasketError::Quantity {
                    index,
                    found: quantity,
                });
            }
            if !seen.insert(product_id) {
                return Err(BasketError::Twice { index, product_id });
            }
        }
        Ok(Self(items))
    }

    /// What is in it.
    pub fn items(&self) -> &[Item] {
        &self.0
    }

    /// Which products are in it.
    pub fn products(&self) -> BTreeSet<ProductId> {
        self.0.iter().map(|item| item.product_id).collect()
    }
}
