use std::error::Error;

use quadrille_contracts::OrderId;
use quadrille_contracts::order::PaymentMethod;
use saga_core::Money;
use saga_runtime::store::Saved;
use uuid::Uuid;

use crate::participant::{Asked, Bill, Due, Method, Payment, Payments, Standing, Unpaid};

/// The columns of one row that make up its state.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    order_id: Uuid,
    state: String,
    amount_minor: Option<i64>,
    currency: Option<String>,
    method: Option<String>,
    page_url: Option<String>,
    card_token: Option<String>,
    asked: Option<String>,
    standing: Option<String>,
    failure_code: Option<String>,
}

/// Rows to be written, column by column.
#[derive(Default)]
pub(super) struct Columns<'s> {
    pub(super) order_id: Vec<Uuid>,
    pub(super) state: Vec<&'static str>,
    pub(super) amount_minor: Vec<Option<i64>>,
    pub(super) currency: Vec<Option<&'s str>>,
    pub(super) method: Vec<Option<&'static str>>,
    pub(super) page_url: Vec<Option<&'s str>>,
    pub(super) card_token: Vec<Option<&'s str>>,
    pub(super) asked: Vec<Option<&'static str>>,
    pub(super) standing: Vec<Option<&'static str>>,
    pub(super) failure_code: Vec<Option<&'s str>>,
}

/// What is to be paid, as columns.
struct BillColumns<'s> {
    amount: &'s Money,
    method: &'static str,
    page_url: Option<&'s str>,
    card_token: Option<&'s str>,
}

impl<'s> Columns<'s> {
    pub(super) fn of(sagas: &'s [Saved<Payments>]) -> Self {
        let mut columns = Self::default();
        for saga in sagas {
            columns.push(saga.key, &saga.state);
        }
        columns
    }

    fn push(&mut self, order_id: OrderId, payment: &'s Payment) {
        let bill = bill(payment);
        self.order_id.push(order_id.0);
        self.state.push(state(payment));
        self.amount_minor
            .push(bill.as_ref().map(|bill| bill.amount.minor));
        self.currency
            .push(bill.as_ref().map(|bill| bill.amount.currency.code()));
        self.method.push(bill.as_ref().map(|bill| bill.method));
        self.page_url.push(bill.as_ref().and_then(|bill| bill.page_url));
        self.card_token
            .push(bill.as_ref().and_then(|bill| bill.card_token));
        let question = match payment {
            Payment::Asking { asked, standing, .. } => Some((*asked, *standing)),
            _ => None,
        };
        self.asked.push(question.map(|(asked, _)| asked_name(asked)));
        self.standing
            .push(question.map(|(_, standing)| standing_name(standing)));
        self.failure_code.push(payment.reason());
    }
}

impl Row {
    /// The row's key and state.
    pub(super) fn read(self) -> Result<(OrderId, Payment), sqlx::Error> {
        let order_id = OrderId(self.order_id);
        let state = self.state.clone();
        let payment = self.payment().ok_or_else(|| {
            // The table's constraints rule it out, or another build has written it.
            let what = format!("order {order_id} has a payment '{state}' that cannot be read");
            sqlx::Error::Decode(Box::<dyn Error + Send + Sync>::from(what))
        })?;
        Ok((order_id, payment))
    }

    fn payment(self) -> Option<Payment> {
        Some(match self.state.as_str() {
            "absent" => Payment::Absent,
            "stock_first" => Payment::StockFirst,
            "awaiting_stock" => Payment::AwaitingStock(self.due()?),
            "asking" => Payment::Asking {
                bill: self.bill()?,
                asked: asked(self.asked.as_deref()?)?,
                standing: standing(self.standing.as_deref()?)?,
            },
            "page_open" => Payment::PageOpen(self.bill()?),
            "captured" => Payment::Captured(self.bill()?),
            "refunding" => Payment::Refunding(self.bill()?),
            "refund_parked" => Payment::RefundParked(self.bill()?),
            "refunded" => Payment::Refunded(self.bill()?),
            "failed" => Payment::Failed {
                bill: self.bill()?,
                code: self.failure_code?,
            },
            "expired" => Payment::Expired(self.bill()?),
            // Without a bill if the end was heard of before the order.
            "voided" => Payment::Voided(self.bill()),
            "rejected" => Payment::Rejected(self.bill()),
            _ => return None,
        })
    }

    fn amount(&self) -> Option<Money> {
        Some(Money::new(
            self.amount_minor?,
            self.currency.as_deref()?.parse().ok()?,
        ))
    }

    fn bill(&self) -> Option<Bill> {
        Some(Bill {
            order_id: OrderId(self.order_id),
            amount: self.amount()?,
            method: match self.method.as_deref()? {
                "card" => Method::Card,
                "page" => Method::Page {
                    url: self.page_url.clone(),
                },
                _ => return None,
            },
        })
    }

    fn due(self) -> Option<Due> {
        Some(Due {
            order_id: OrderId(self.order_id),
            amount: self.amount()?,
            method: match self.method.as_deref()? {
                "card" => PaymentMethod::Card {
                    token: self.card_token?,
                },
                "page" => PaymentMethod::HostedPage,
                _ => return None,
            },
        })
    }
}

fn state(payment: &Payment) -> &'static str {
    match payment {
        Payment::Absent => "absent",
        Payment::StockFirst => "stock_first",
        Payment::AwaitingStock(_) => "awaiting_stock",
        Payment::Asking { .. } => "asking",
        Payment::PageOpen(_) => "page_open",
        Payment::Captured(_) => "captured",
        Payment::Refunding(_) => "refunding",
        Payment::RefundParked(_) => "refund_parked",
        Payment::Refunded(_) => "refunded",
        Payment::Failed { .. } => "failed",
        Payment::Expired(_) => "expired",
        Payment::Voided(_) => "voided",
        Payment::Rejected(_) => "rejected",
    }
}

fn bill(payment: &Payment) -> Option<BillColumns<'_>> {
    match payment {
        Payment::Absent | Payment::StockFirst => None,
        Payment::AwaitingStock(Due { amount, method, .. }) => Some(match method {
            PaymentMethod::Card { token } => BillColumns {
                amount,
                method: "card",
                page_url: None,
                card_token: Some(token),
            },
            PaymentMethod::HostedPage => BillColumns {
                amount,
                method: "page",
                page_url: None,
                card_token: None,
            },
        }),
        Payment::Asking { bill, .. }
        | Payment::PageOpen(bill)
        | Payment::Captured(bill)
        | Payment::Refunding(bill)
        | Payment::RefundParked(bill)
        | Payment::Refunded(bill)
        | Payment::Failed { bill, .. }
        | Payment::Expired(bill) => Some(of_bill(bill)),
        Payment::Voided(bill) | Payment::Rejected(bill) => bill.as_ref().map(of_bill),
    }
}

fn of_bill(bill: &Bill) -> BillColumns<'_> {
    BillColumns {
        amount: &bill.amount,
        method: match bill.method {
            Method::Card => "card",
            Method::Page { .. } => "page",
        },
        page_url: bill.page_url(),
        card_token: None,
    }
}

fn asked_name(asked: Asked) -> &'static str {
    match asked {
        Asked::Charge => "charge",
        Asked::WhatOfCharge => "what_of_charge",
        Asked::Page => "page",
        Asked::WhatOfPage => "what_of_page",
        Asked::Close(Unpaid::Expired) => "close_expired",
        Asked::Close(Unpaid::Declined) => "close_declined",
        Asked::Close(Unpaid::Unreachable) => "close_unreachable",
    }
}

fn asked(name: &str) -> Option<Asked> {
    Some(match name {
        "charge" => Asked::Charge,
        "what_of_charge" => Asked::WhatOfCharge,
        "page" => Asked::Page,
        "what_of_page" => Asked::WhatOfPage,
        "close_expired" => Asked::Close(Unpaid::Expired),
        "close_declined" => Asked::Close(Unpaid::Declined),
        "close_unreachable" => Asked::Close(Unpaid::Unreachable),
        _ => return None,
    })
}

fn standing_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Waits => "waits",
        Standing::Cancelled => "cancelled",
        Standing::Paid => "paid",
        Standing::RefundDue => "refund_due",
    }
}

fn standing(name: &str) -> Option<Standing> {
    Some(match name {
        "waits" => Standing::Waits,
        "cancelled" => Standing::Cancelled,
        "paid" => Standing::Paid,
        "refund_due" => Standing::RefundDue,
        _ => return None,
    })
}
