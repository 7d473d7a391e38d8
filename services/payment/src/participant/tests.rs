use quadrille_contracts::order::{CancelReason, PaymentMethod};
use quadrille_contracts::{PaymentId, order, payment, stock};
use saga_core::testkit::{Given, given};
use saga_core::{Currency, Effect, Money, Outcome, Timer};
use uuid::Uuid;

use super::effects::{
    CardToken, Charge, ChargeFound, Charged, Close, Closed, OpenPage, PageFound, PageOpened, QueryCharge,
    QueryPage, Refund, RefundId, Refunded,
};
use super::*;

/// Charges.
mod card;
/// What comes again, crosses, or cannot be.
mod crossing;
/// Pages and their webhooks.
mod page;
/// The way back.
mod refunds;
/// What is shown, and the keys at the provider.
mod shown;

const DAY: Duration = Duration::from_secs(86_400);
const PAYMENTS: Payments = Payments { page_deadline: DAY };
const URL: &str = "https://pay/1";

fn payments() -> Given<'static, Payments> {
    given(&PAYMENTS)
}

fn order_id() -> OrderId {
    OrderId(Uuid::from_u128(1))
}

fn payment_id() -> PaymentId {
    PaymentId::of(order_id())
}

fn price() -> Money {
    Money::new(1400, Currency::EUR)
}

fn card() -> PaymentMethod {
    PaymentMethod::Card {
        token: "tok_ok".into(),
    }
}

fn order_created(payment_method: PaymentMethod) -> In {
    In::OrderCreated(order::Created {
        order_id: order_id(),
        owner: "ada".into(),
        lines: vec![],
        total: price(),
        payment_method,
    })
}

fn stock_reserved() -> In {
    In::StockReserved(stock::Reserved {
        order_id: order_id(),
        lines: vec![],
    })
}

fn order_rejected() -> In {
    In::OrderRejected(order::Rejected { order_id: order_id() })
}

fn order_cancelled() -> In {
    In::OrderCancelled(order::Cancelled {
        order_id: order_id(),
        reason: CancelReason::Customer,
    })
}

fn report(event: PageEvent) -> In {
    In::ReportPage(PageReport {
        order_id: order_id(),
        payment_id: payment_id(),
        event,
    })
}

fn reported_paid() -> In {
    report(PageEvent::Paid { amount: price() })
}

fn unanswered<E: Effect>() -> Outcome<E> {
    Outcome::Exhausted { attempts: 8 }
}

fn due(method: PaymentMethod) -> Due {
    Due {
        order_id: order_id(),
        amount: price(),
        method,
    }
}

fn card_bill() -> Bill {
    due(card()).bill()
}

fn page_bill() -> Bill {
    due(PaymentMethod::HostedPage).bill()
}

/// A page whose address is known.
fn open_bill() -> Bill {
    page_bill().at(URL.into())
}

fn asking(bill: Bill, asked: Asked, standing: Standing) -> Payment {
    Payment::Asking {
        bill,
        asked,
        standing,
    }
}

/// What payment says and does, one of each.
mod out {
    use super::*;

    pub(super) fn created(page_url: Option<&str>) -> Out {
        let page_url = page_url.map(str::to_owned);
        Out::Created(payment::Created {
            order_id: order_id(),
            payment_id: payment_id(),
            amount: price(),
            page_url,
        })
    }

    pub(super) fn succeeded() -> Out {
        Out::Succeeded(payment::Succeeded {
            order_id: order_id(),
            payment_id: payment_id(),
            amount: price(),
        })
    }

    pub(super) fn failed(code: &str) -> Out {
        Out::Failed(payment::Failed {
            order_id: order_id(),
            payment_id: payment_id(),
            code: code.into(),
        })
    }

    pub(super) fn expired() -> Out {
        Out::Expired(payment::Expired {
            order_id: order_id(),
            payment_id: payment_id(),
        })
    }

    pub(super) fn voided() -> Out {
        Out::Voided(payment::Voided {
            order_id: order_id(),
            payment_id: payment_id(),
        })
    }

    pub(super) fn refunded() -> Out {
        Out::Refunded(payment::Refunded {
            order_id: order_id(),
            payment_id: payment_id(),
            amount: price(),
        })
    }

    pub(super) fn refund_failed() -> Out {
        Out::RefundFailed(payment::RefundFailed {
            order_id: order_id(),
            payment_id: payment_id(),
            amount: price(),
        })
    }

    pub(super) fn charge() -> Out {
        Out::Charge(Charge {
            payment_id: payment_id(),
            order_id: order_id(),
            amount: price(),
            token: CardToken("tok_ok".into()),
        })
    }

    pub(super) fn query_charge() -> Out {
        Out::QueryCharge(QueryCharge {
            payment_id: payment_id(),
        })
    }

    pub(super) fn open_page() -> Out {
        Out::OpenPage(OpenPage {
            payment_id: payment_id(),
            order_id: order_id(),
            amount: price(),
            expires_after: DAY,
        })
    }

    pub(super) fn query_page() -> Out {
        Out::QueryPage(QueryPage {
            payment_id: payment_id(),
        })
    }

    pub(super) fn close() -> Out {
        Out::Close(Close {
            payment_id: payment_id(),
        })
    }

    pub(super) fn refund() -> Out {
        let refund_id = RefundId::of(payment_id());
        Out::Refund(Refund {
            payment_id: payment_id(),
            refund_id,
            amount: price(),
        })
    }
}

/// Each of the answers that an effect can have, and "unknown".
mod answers {
    use super::*;

    pub(super) fn all() -> Vec<In> {
        let amount = price();
        let (code, url) = (String::from("declined"), String::from(URL));
        vec![
            In::Charged(Outcome::Answered(Charged::Captured { amount })),
            In::Charged(Outcome::Answered(Charged::Declined { code: code.clone() })),
            In::Charged(unanswered()),
            In::ChargeFound(Outcome::Answered(ChargeFound::Captured { amount })),
            In::ChargeFound(Outcome::Answered(ChargeFound::Declined { code: code.clone() })),
            In::ChargeFound(Outcome::Answered(ChargeFound::NotFound)),
            In::ChargeFound(unanswered()),
            In::PageOpened(Outcome::Answered(PageOpened::Opened { url: url.clone() })),
            In::PageOpened(Outcome::Answered(PageOpened::Refused { code })),
            In::PageOpened(unanswered()),
            In::PageFound(Outcome::Answered(PageFound::Open { url })),
            In::PageFound(Outcome::Answered(PageFound::Paid { amount })),
            In::PageFound(Outcome::Answered(PageFound::Declined)),
            In::PageFound(Outcome::Answered(PageFound::Closed)),
            In::PageFound(Outcome::Answered(PageFound::NotFound)),
            In::PageFound(unanswered()),
            In::Closed(Outcome::Answered(Closed::Closed)),
            In::Closed(Outcome::Answered(Closed::AlreadyPaid { amount })),
            In::Closed(unanswered()),
            In::Refunded(Outcome::Answered(Refunded::Refunded)),
            In::Refunded(unanswered()),
        ]
    }
}
