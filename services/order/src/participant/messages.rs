use chrono::{DateTime, Utc};
use quadrille_contracts::order::{self, PaymentMethod};
use quadrille_contracts::{OrderId, ProductId, payment, product, stock};
use saga_core::{Currency, Inputs, Outputs, Timer};
use serde::{Deserialize, Serialize};

use super::{Basket, Order, Status};

/// Place an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlaceOrder {
    /// Its id, given by the service.
    pub order_id: OrderId,
    /// Who places it.
    pub owner: String,
    /// What is ordered.
    pub basket: Basket,
    /// How it will be paid.
    pub payment_method: PaymentMethod,
    /// The currency that the customer thinks of, if one was named.
    pub expected_currency: Option<Currency>,
}

/// Cancel an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cancel {
    /// Which.
    pub order_id: OrderId,
}

/// What the order reacts to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Inputs)]
pub enum In {
    /// A customer orders.
    #[command]
    PlaceOrder(PlaceOrder),
    /// The customer changes their mind.
    #[command]
    Cancel(Cancel),
    /// It took too long.
    #[timer]
    Deadline,
    /// There is no stock.
    #[event]
    StockRejected(stock::Rejected),
    /// The payment was begun.
    #[event]
    PaymentCreated(payment::Created),
    /// The money is there.
    #[event]
    PaymentSucceeded(payment::Succeeded),
    /// The bank said no.
    #[event]
    PaymentFailed(payment::Failed),
    /// Nobody paid in time.
    #[event]
    PaymentExpired(payment::Expired),
    /// No money was held when the order was cancelled.
    #[event]
    PaymentVoided(payment::Voided),
    /// The money went back.
    #[event]
    PaymentRefunded(payment::Refunded),
    /// The money could not be sent back.
    #[event]
    PaymentRefundFailed(payment::RefundFailed),
    /// There is a new product.
    #[event]
    ProductCreated(product::Created),
    /// A product has another price.
    #[event]
    PriceChanged(product::PriceChanged),
}

/// What the order puts out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
pub enum Out {
    /// It was placed.
    #[event]
    Created(order::Created),
    /// It ended without stock.
    #[event]
    Rejected(order::Rejected),
    /// It is paid.
    #[event]
    Confirmed(order::Confirmed),
    /// Whatever was done for it is to be undone.
    #[event]
    Cancelled(order::Cancelled),
    /// Its money is back.
    #[event]
    Refunded(order::Refunded),
    /// When it gives up.
    #[timer]
    Deadline(Timer),
}

/// What the caller of a command is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The order as this command left it.
    pub order: Order,
    /// When.
    pub at: DateTime<Utc>,
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The catalogue has no price for these.
    #[error("no such products: {}", product_ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    UnknownProducts {
        /// All that are unknown.
        product_ids: Vec<ProductId>,
    },
    /// Products of different currencies, or of another one than was expected.
    #[error("product {product_id} is priced in {found}, not in {expected}")]
    CurrencyMismatch {
        /// The first that differs.
        product_id: ProductId,
        /// What the customer expected, or else the currency of the first item.
        expected: Currency,
        /// What it is priced in.
        found: Currency,
    },
    /// The total is more than can be counted.
    #[error("the total is more money than can be counted")]
    Overflow,
    /// The id is taken.
    #[error("order {0} was placed before")]
    AlreadyPlaced(OrderId),
    /// There is no such order.
    #[error("there is no order {0}")]
    NotFound(OrderId),
    /// Only a pending order can be cancelled.
    #[error("the order is {0}; only a pending order can be cancelled")]
    NotPending(Status),
}
