use quadrille_contracts::order::Line;
use quadrille_contracts::order::PaymentMethod;
use quadrille_contracts::{PaymentId, payment, product, stock};
use saga_core::Currency;
use saga_core::testkit::{Given, given, noon};
use uuid::Uuid;

use super::*;

/// From placed to its end.
mod course;
/// Prices and baskets.
mod placing;

fn orders() -> Given<'static, Orders> {
    const ORDERS: Orders = Orders {
        card_deadline: Duration::from_secs(900),
        page_deadline: Duration::from_secs(90_000),
    };
    given(&ORDERS)
}

fn id() -> OrderId {
    OrderId(Uuid::from_u128(1))
}

fn tea() -> ProductId {
    ProductId(Uuid::from_u128(10))
}

fn cup() -> ProductId {
    ProductId(Uuid::from_u128(11))
}

fn euro(minor: i64) -> Money {
    Money::new(minor, Currency::EUR)
}

fn basket(items: &[(ProductId, u32)]) -> Basket {
    let items = items
        .iter()
        .map(|&(product_id, quantity)| Item { product_id, quantity });
    Basket::new(items.collect()).expect("a basket")
}

fn place(basket: Basket, payment_method: PaymentMethod) -> PlaceOrder {
    PlaceOrder {
        order_id: id(),
        owner: "ada".into(),
        basket,
        payment_method,
        expected_currency: None,
    }
}

fn placed() -> Placed {
    Placed {
        order_id: id(),
        owner: "ada".into(),
        lines: vec![
            Line {
                product_id: tea(),
                quantity: 2,
                unit_price: euro(250),
            },
            Line {
                product_id: cup(),
                quantity: 1,
                unit_price: euro(900),
            },
        ],
        total: euro(1400),
        method: Method::HostedPage,
        page_url: None,
    }
}

fn pending() -> Order {
    Order::Pending { placed: placed() }
}

fn cancelled(reason: CancelReason, money: Held) -> Order {
    Order::Cancelled {
        placed: placed(),
        reason,
        money,
    }
}

fn refunded() -> Order {
    Order::Refunded {
        placed: placed(),
        reason: CancelReason::Customer,
    }
}

fn cancel_command() -> In {
    In::Cancel(Cancel { order_id: id() })
}

fn stock_rejected() -> In {
    In::StockRejected(stock::Rejected {
        order_id: id(),
        shortages: vec![],
    })
}

/// Payment's events, one of each.
mod paid {
    use super::*;

    fn payment_id() -> PaymentId {
        PaymentId::of(id())
    }

    pub(super) fn created(page_url: Option<&str>) -> In {
        let page_url = page_url.map(str::to_owned);
        In::PaymentCreated(payment::Created {
            order_id: id(),
            payment_id: payment_id(),
            amount: euro(1400),
            page_url,
        })
    }

    pub(super) fn succeeded() -> In {
        In::PaymentSucceeded(payment::Succeeded {
            order_id: id(),
            payment_id: payment_id(),
            amount: euro(1400),
        })
    }

    pub(super) fn failed() -> In {
        In::PaymentFailed(payment::Failed {
            order_id: id(),
            payment_id: payment_id(),
            code: "declined".into(),
        })
    }

    pub(super) fn expired() -> In {
        In::PaymentExpired(payment::Expired {
            order_id: id(),
            payment_id: payment_id(),
        })
    }

    pub(super) fn voided() -> In {
        In::PaymentVoided(payment::Voided {
            order_id: id(),
            payment_id: payment_id(),
        })
    }

    pub(super) fn refunded() -> In {
        In::PaymentRefunded(payment::Refunded {
            order_id: id(),
            payment_id: payment_id(),
            amount: euro(1400),
        })
    }

    pub(super) fn refund_failed() -> In {
        In::PaymentRefundFailed(payment::RefundFailed {
            order_id: id(),
            payment_id: payment_id(),
            amount: euro(1400),
        })
    }

    pub(super) fn all() -> [In; 7] {
        [
            created(None),
            succeeded(),
            failed(),
            expired(),
            voided(),
            refunded(),
            refund_failed(),
        ]
    }
}
