use anyhow::{Result, ensure};
use quadrille_contracts::{OrderId, ProductId};
use quadrille_process::fault::Point;
use quadrille_proto::order::v1::{Order, OrderStatus};
use saga_proof::certificate;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::customer::{Customer, Pays};
use crate::provider::reference;
use crate::system::System;
use crate::wait::until;
use crate::{Provider, customer};

/// A way through the order saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// By card.
    Confirmed,
    /// By card; the provider is in trouble once.
    Retried,
    /// On a page of the provider.
    Paid,
    /// Out of stock.
    Refused,
    /// The bank says no.
    Declined,
    /// By the customer, before the page is paid.
    Cancelled,
    /// Nobody pays on the page in time.
    Expired,
    /// The order's own deadline passes.
    Overdue,
    /// Paid on the page, and cancelled before we heard of it.
    Refunded,
}

/// Who orders on a path, and what.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) provider: Provider,
    pub(crate) customer: Customer,
    product: ProductId,
    orders: PgPool,
    payments: PgPool,
}

const PRICE: i64 = 450;
/// More than any run orders.
const UNITS: i64 = 100_000;
const FIRE: &str = "update saga.timer set due_at = now() where saga = $1";

impl Path {
    /// All of them.
    pub const ALL: &[Path] = &[
        Path::Confirmed,
        Path::Retried,
        Path::Paid,
        Path::Refused,
        Path::Declined,
        Path::Cancelled,
        Path::Expired,
        Path::Overdue,
        Path::Refunded,
    ];

    /// As it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Retried => "retried",
            Self::Paid => "paid",
            Self::Refused => "refused",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Overdue => "overdue",
            Self::Refunded => "refunded",
        }
    }

    /// What happens on it.
    pub(crate) fn story(self) -> &'static str {
        match self {
            Self::Confirmed => {
                "The stock is held, the card is charged, the order is confirmed, the stock is sold."
            }
            Self::Retried => {
                "As confirmed; the provider answers the charge with an error before it books it."
            }
            Self::Paid => "As confirmed; the customer pays on a page of the provider, whose webhook says so.",
            Self::Refused => "Nothing is in stock: the order is rejected, and nobody is asked for money.",
            Self::Declined => "The bank says no: the order is cancelled, the stock is put back.",
            Self::Cancelled => {
                "The customer cancels before paying on the page, which is closed: the stock is put back."
            }
            Self::Expired => {
                "Nobody pays on the page in time: it is closed, the order is cancelled, the stock is put back."
            }
            Self::Overdue => "As cancelled, but by the order's own deadline.",
            Self::Refunded => {
                "The customer pays on the page and cancels, and the webhook is late: closing the page tells that it was paid, the money \
                 goes back, the stock too; then comes the webhook."
            }
        }
    }

    /// As the certificate knows it.
    pub(crate) fn certified(self) -> certificate::Path {
        let mut path = certificate::Path::new(self.name(), self.story());
        let mut spare = |is_spared: bool, points: &[Point], why| {
            if is_spared {
                path = path.clone().spares(points, why);
            }
        };
        spare(
            !matches!(self, Self::Paid | Self::Refunded),
            Point::WEBHOOKS,
            "the provider has nothing to report: nobody presses a button of a page",
        );
        spare(
            !matches!(self, Self::Expired | Self::Overdue),
            &[Point::TimerBeforeFire],
            "no timer gets as far as to fire",
        );
        spare(
            self != Self::Retried,
            &[Point::EffectBeforePostpone],
            "no call fails by itself",
        );
        spare(
            self == Self::Refused,
            &[
                Point::EffectAfterClaim,
                Point::EffectBeforeCall,
                Point::EffectAfterCall,
                Point::EffectBeforeAnswer,
            ],
            "the provider is never asked",
        );
        path.and_nothing_else()
    }

    /// How an order has to end on it, with the reason that it gives.
    fn end(self) -> (OrderStatus, &'static str) {
        match self {
            Self::Confirmed | Self::Retried | Self::Paid => (OrderStatus::Confirmed, ""),
            Self::Refused => (OrderStatus::Rejected, "OUT_OF_STOCK"),
            Self::Declined => (OrderStatus::Cancelled, "PAYMENT_DECLINED"),
            Self::Cancelled => (OrderStatus::Cancelled, "CANCELLED_BY_CUSTOMER"),
            Self::Expired => (OrderStatus::Cancelled, "PAYMENT_EXPIRED"),
            Self::Overdue => (OrderStatus::Cancelled, "DEADLINE"),
            Self::Refunded => (OrderStatus::Refunded, "CANCELLED_BY_CUSTOMER"),
        }
    }

    /// What inventory knows of its stock in the end.
    pub(crate) fn hold(self) -> &'static str {
        match self {
            Self::Confirmed | Self::Retried | Self::Paid => "sold",
            Self::Refused => "rejected",
            Self::Declined | Self::Cancelled | Self::Expired | Self::Overdue | Self::Refunded => "cancelled",
        }
    }

    /// Whether an order has ended as it has to.
    pub(crate) fn is_end(self, order: &Order) -> Result<(), String> {
        let (status, reason) = self.end();
        if order.status() == status && order.reason == reason {
            Ok(())
        } else {
            Err(format!(
                "it ended as {} ({}) and not as {} ({reason})",
                order.status().as_str_name(),
                order.reason,
                status.as_str_name()
            ))
        }
    }

    fn pays(self) -> Pays {
        match self {
            Self::Confirmed | Self::Retried | Self::Refused => Pays::Card("tok_ok"),
            Self::Declined => Pays::Card("tok_declined"),
            Self::Paid | Self::Cancelled | Self::Expired | Self::Overdue | Self::Refunded => Pays::Page,
        }
    }
}

impl Stage {
    /// A customer for a path, and a shelf.
    pub(crate) async fn of(system: &System, path: Path) -> Result<Self> {
        let customer = Customer::of(system)?;
        let product = match path {
            Path::Refused => {
                let product = ProductId(Uuid::new_v4());
                customer.create(product, "EUR", PRICE).await?;
                customer.deliver(product, 0).await?;
                product
            }
            _ => customer.product(PRICE, UNITS).await?,
        };
        Ok(Self {
            provider: Provider::of(system)?,
            customer,
            product,
            orders: system.database("order").await?,
            payments: system.database("payment").await?,
        })
    }

    /// Walks a path to its end.
    pub(crate) async fn walk(&self, path: Path, key: &str, id: OrderId) -> Result<()> {
        let customer = &self.customer;
        if path == Path::Retried {
            let refuse = json!({"fault": "refuse", "operation": "charge", "reference": reference(id)});
            self.provider.misbehave(refuse).await?;
        }
        let request = customer.basket(&[(self.product, 1)], path.pays());
        let order = customer
            .try_place(request, Some(key))
            .await
            .map_err(|status| anyhow::anyhow!("cannot place an order: {status}"))?;
        ensure!(
            order.order_id == id.to_string(),
            "the order is {} and not {id}",
            order.order_id
        );
        match path {
            Path::Confirmed | Path::Retried | Path::Refused | Path::Declined => {}
            Path::Paid => {
                let page = self.page(id).await?;
                ensure!(
                    self.provider.press(&page, "pay").await?,
                    "the page takes no money"
                );
            }
            Path::Cancelled => {
                self.page(id).await?;
                self.cancel(id).await?;
            }
            Path::Expired => {
                self.page(id).await?;
                fire(&self.payments, id).await?;
            }
            Path::Overdue => {
                self.page(id).await?;
                fire(&self.orders, id).await?;
            }
            Path::Refunded => {
                let page = self.page(id).await?;
                self.provider.hold_webhooks_about(id, true).await?;
                ensure!(
                    self.provider.press(&page, "pay").await?,
                    "the page takes no money"
                );
                self.cancel(id).await?;
            }
        }
        customer.watch(id).await?;
        if path == Path::Refunded {
            self.provider.hold_webhooks_about(id, false).await?;
        }
        if matches!(path.pays(), Pays::Page) {
            self.reported(id).await?;
        }
        Ok(())
    }

    /// The page of an order, once the provider has opened it.
    async fn page(&self, id: OrderId) -> Result<String> {
        until("the payment page", async || {
            let order = self.customer.order(id).await?;
            ensure!(
                !order.payment_page_url.is_empty(),
                "{:?} has no page yet",
                order.status()
            );
            Ok(order.payment_page_url)
        })
        .await
    }

    async fn cancel(&self, id: OrderId) -> Result<()> {
        match self.customer.cancel(id).await {
            Ok(_) => Ok(()),
            Err(status) => anyhow::bail!("it cannot be cancelled: {status} ({})", customer::reason(&status)),
        }
    }

    /// Waits until the provider has got rid of its reports.
    async fn reported(&self, id: OrderId) -> Result<()> {
        until("the provider's reports to be taken", async || {
            let webhooks = self.provider.webhooks(id).await?;
            let open = webhooks
                .iter()
                .filter(|webhook| webhook["delivered_at"].is_null())
                .count();
            ensure!(open == 0, "{open} are not: {webhooks:?}");
            Ok(())
        })
        .await
    }
}

/// Has a timer fire now.
async fn fire(database: &PgPool, id: OrderId) -> Result<()> {
    until("the timer to be there", async || {
        let moved = sqlx::query(FIRE)
            .bind(id.to_string())
            .execute(database)
            .await?
            .rows_affected();
        ensure!(moved == 1, "{moved} timers");
        Ok(())
    })
    .await
}
