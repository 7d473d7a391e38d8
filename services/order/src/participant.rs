//! The order's part in its saga: price it, wait for stock and money, confirm it or cancel it.
//!
//! `order.confirmed` is the pivot: after it nothing is undone. `order.cancelled` is the one signal that
//! undoes, and whoever did something for the order answers it. Both are said only while the order is
//! pending, so that a cancel and a payment that cross cannot both win.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use quadrille_contracts::order::{self, CancelReason};
use quadrille_contracts::{OrderId, ProductId};
use saga_core::{At, Decision, Fault, Money, Participant, Step, Timer, View, steps};

pub use basket::{Basket, BasketError, Item};
pub use messages::{Cancel, In, Out, PlaceOrder, Refusal, Reply};
pub use state::{Held, Method, Order, Placed, Status};

/// What a customer asks for.
mod basket;
/// What it hears and says.
mod messages;
/// What an order costs.
mod pricing;
/// What the service knows of one order.
mod state;

/// What no topic records of it.
mod replay;

#[cfg(test)]
mod tests;

/// Policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orders {
    /// How long an order waits that is paid with a card.
    pub card_deadline: Duration,
    /// How long one waits that is paid on a page. Longer than the page itself, so that it is the page that
    /// expires first.
    pub page_deadline: Duration,
}

impl Default for Orders {
    fn default() -> Self {
        Self {
            card_deadline: Duration::from_secs(15 * 60),
            page_deadline: Duration::from_secs(25 * 3600),
        }
    }
}

impl Orders {
    /// How long after it was placed an order is given up.
    pub fn deadline(&self, method: Method) -> Duration {
        match method {
            Method::Card => self.card_deadline,
            Method::HostedPage => self.page_deadline,
        }
    }
}

impl Participant for Orders {
    const NAME: &'static str = "order";
    const STEPS: &'static [Step] = steps! { In, Out;
        PlaceOrder          => [Created, Deadline];
        Cancel              => [Cancelled, Deadline] undoes [Created];
        Deadline            => [Cancelled] undoes [Created];
        StockRejected       => [Rejected, Deadline] undoes [Created];
        PaymentCreated      => [];
        PaymentSucceeded    => [Confirmed, Deadline];
        PaymentFailed       => [Cancelled, Deadline] undoes [Created];
        PaymentExpired      => [Cancelled, Deadline] undoes [Created];
        PaymentVoided       => [];
        PaymentRefunded     => [Refunded];
        PaymentRefundFailed => [];
        ProductCreated      => [];
        PriceChanged        => [];
    };
    type Key = OrderId;
    type State = Order;
    type SharedKey = ProductId;
    /// The price that the catalogue published last.
    type Shared = Money;
    type Input = In;
    type Output = Out;
    type Reply = Reply;
    type Refusal = Refusal;

    fn key(&self, input: &In) -> Option<OrderId> {
        match input {
            In::PlaceOrder(command) => Some(command.order_id),
            In::Cancel(command) => Some(command.order_id),
            In::StockRejected(event) => Some(event.order_id),
            In::PaymentCreated(event) => Some(event.order_id),
            In::PaymentSucceeded(event) => Some(event.order_id),
            In::PaymentFailed(event) => Some(event.order_id),
            In::PaymentExpired(event) => Some(event.order_id),
            In::PaymentVoided(event) => Some(event.order_id),
            In::PaymentRefunded(event) => Some(event.order_id),
            In::PaymentRefundFailed(event) => Some(event.order_id),
            In::Deadline | In::ProductCreated(_) | In::PriceChanged(_) => None,
        }
    }

    fn touches(&self, _: &Order, input: &In) -> BTreeSet<ProductId> {
        match input {
            In::ProductCreated(event) => [event.product_id].into(),
            In::PriceChanged(event) => [event.product_id].into(),
            _ => BTreeSet::new(),
        }
    }

    /// An order is placed at the price that is known now. All orders of a product read the same row: locked, they would
    /// wait for each other's commits.
    fn reads(&self, order: &Order, input: &In) -> BTreeSet<ProductId> {
        match (order, input) {
            (Order::Absent, In::PlaceOrder(command)) => command.basket.products(),
            _ => BTreeSet::new(),
        }
    }

    fn decide(
        &self,
        order: Order,
        prices: &mut View<'_, ProductId, Money>,
        at: At<In>,
    ) -> Result<Decision<Self>, Fault> {
        use Order::{Absent, Cancelled, Confirmed, Pending, Refunded, Rejected};
        let now = at.now;
        Ok(match (order, at.input) {
            // Placing.
            (Absent, In::PlaceOrder(command)) => self.place(command, prices, now)?,
            (
                order @ (Pending { .. }
                | Confirmed { .. }
                | Rejected { .. }
                | Cancelled { .. }
                | Refunded { .. }),
                In::PlaceOrder(command),
            ) => Decision::refuse(order, Refusal::AlreadyPlaced(command.order_id)),

            // The ways out of pending.
            (Pending { placed }, In::PaymentSucceeded(_)) => {
                let confirmed = order::Confirmed {
                    order_id: placed.order_id,
                };
                Decision::to(Confirmed { placed })
                    .emit(Out::Confirmed(confirmed))
                    .emit(Out::Deadline(Timer::Cancel))
            }
            (Pending { placed }, In::StockRejected(_)) => {
                let rejected = order::Rejected {
                    order_id: placed.order_id,
                };
                Decision::to(Rejected { placed })
                    .emit(Out::Rejected(rejected))
                    .emit(Out::Deadline(Timer::Cancel))
            }
            (Pending { placed }, In::PaymentFailed(_)) => {
                cancel(placed, CancelReason::PaymentFailed, Held::Nothing).emit(Out::Deadline(Timer::Cancel))
            }
            (Pending { placed }, In::PaymentExpired(_)) => {
                cancel(placed, CancelReason::PaymentExpired, Held::Nothing).emit(Out::Deadline(Timer::Cancel))
            }
            (Pending { placed }, In::Deadline) => cancel(placed, CancelReason::Deadline, Held::Unknown),
            (Pending { placed }, In::Cancel(_)) => {
                let decision =
                    cancel(placed, CancelReason::Customer, Held::Unknown).emit(Out::Deadline(Timer::Cancel));
                let order = decision.state.clone();
                decision.reply(Reply { order, at: now })
            }

            // A cancel that comes too late, or for nothing.
            (Absent, In::Cancel(command)) => Decision::refuse(Absent, Refusal::NotFound(command.order_id)),
            (order @ Confirmed { .. }, In::Cancel(_)) => {
                Decision::refuse(order, Refusal::NotPending(Status::Confirmed))
            }
            (order @ Rejected { .. }, In::Cancel(_)) => {
                Decision::refuse(order, Refusal::NotPending(Status::Rejected))
            }
            (order @ Cancelled { .. }, In::Cancel(_)) => {
                Decision::refuse(order, Refusal::NotPending(Status::Cancelled))
            }
            (order @ Refunded { .. }, In::Cancel(_)) => {
                Decision::refuse(order, Refusal::NotPending(Status::Refunded))
            }

            // Where the customer pays.
            (Pending { placed }, In::PaymentCreated(event)) => {
                let page_url = event.page_url.or(placed.page_url);
                Decision::to(Pending {
                    placed: Placed { page_url, ..placed },
                })
            }

            // Where the money of a cancelled order is. A payment that failed or expired may still succeed at the
            // provider, late; then it is refunded, and what was settled is not until the refund is through.
            (
                Cancelled {
                    placed,
                    reason,
                    money: Held::Unknown | Held::Nothing,
                },
                In::PaymentVoided(_) | In::PaymentFailed(_) | In::PaymentExpired(_),
            ) => Decision::to(Cancelled {
                placed,
                reason,
                money: Held::Nothing,
            }),
            (Cancelled { placed, reason, .. }, In::PaymentRefundFailed(_)) => Decision::to(Cancelled {
                placed,
                reason,
                money: Held::Owed,
            }),
            (Cancelled { placed, reason, .. }, In::PaymentRefunded(event)) => {
                let refunded = order::Refunded {
                    order_id: placed.order_id,
                    amount: event.amount,
                };
                Decision::to(Refunded { placed, reason }).emit(Out::Refunded(refunded))
            }

            // It crossed with the cancel, and is undone by whom it concerns.
            (
                order @ Cancelled { .. },
                In::PaymentCreated(_) | In::PaymentSucceeded(_) | In::StockRejected(_),
            ) => Decision::ignore(order),
            // Seen before: money that is owed was not voided since.
            (
                order @ Cancelled {
                    money: Held::Owed, ..
                },
                In::PaymentVoided(_) | In::PaymentFailed(_) | In::PaymentExpired(_),
            ) => Decision::ignore(order),
            (order @ Confirmed { .. }, In::PaymentCreated(_) | In::PaymentSucceeded(_)) => {
                Decision::ignore(order)
            }
            (order @ Rejected { .. }, In::StockRejected(_)) => Decision::ignore(order),
            (
                order @ Refunded { .. },
                In::PaymentCreated(_)
                | In::PaymentSucceeded(_)
                | In::PaymentFailed(_)
                | In::PaymentExpired(_)
                | In::PaymentVoided(_)
                | In::PaymentRefundFailed(_)
                | In::PaymentRefunded(_),
            ) => Decision::ignore(order),
            // It fired while the order ended.
            (
                order @ (Confirmed { .. } | Rejected { .. } | Cancelled { .. } | Refunded { .. }),
                In::Deadline,
            ) => Decision::ignore(order),

            // What the others never do.
            (
                Absent,
                In::Deadline
                | In::StockRejected(_)
                | In::PaymentCreated(_)
                | In::PaymentSucceeded(_)
                | In::PaymentFailed(_)
                | In::PaymentExpired(_)
                | In::PaymentVoided(_)
                | In::PaymentRefunded(_)
                | In::PaymentRefundFailed(_),
            ) => return Err(Fault::impossible("news of an order that was never placed")),
            (Pending { .. }, In::PaymentVoided(_) | In::PaymentRefunded(_) | In::PaymentRefundFailed(_)) => {
                return Err(Fault::impossible(
                    "a payment was undone whose order was not cancelled",
                ));
            }
            (
                Confirmed { .. },
                In::PaymentFailed(_)
                | In::PaymentExpired(_)
                | In::PaymentVoided(_)
                | In::PaymentRefunded(_)
                | In::PaymentRefundFailed(_),
            ) => return Err(Fault::impossible("the payment of a confirmed order was undone")),
            (Confirmed { .. } | Refunded { .. }, In::StockRejected(_)) => {
                return Err(Fault::impossible("stock was rejected for an order that was paid"));
            }
            (
                Rejected { .. },
                In::PaymentCreated(_)
                | In::PaymentSucceeded(_)
                | In::PaymentFailed(_)
                | In::PaymentExpired(_)
                | In::PaymentVoided(_)
                | In::PaymentRefunded(_)
                | In::PaymentRefundFailed(_),
            ) => {
                return Err(Fault::impossible(
                    "a payment was begun for an order without stock",
                ));
            }

            // The read model of prices. A product is created once, so a second time is an old one that comes
            // again, and does not bring its old price back.
            (order, In::ProductCreated(event)) => {
                if prices.get(&event.product_id)?.is_none() {
                    prices.put(event.product_id, event.price)?;
                }
                Decision::ignore(order)
            }
            (order, In::PriceChanged(event)) => {
                prices.put(event.product_id, event.price)?;
                Decision::ignore(order)
            }
        })
    }

    /// Money that is owed needs somebody's attention, so such an order has not ended, though nobody watches
    /// it any longer.
    fn is_ended(&self, order: &Order) -> bool {
        order.is_at_rest() && !order.is_money_owed()
    }
}

impl Orders {
    fn place(
        &self,
        command: PlaceOrder,
        prices: &View<'_, ProductId, Money>,
        now: DateTime<Utc>,
    ) -> Result<Decision<Self>, Fault> {
        let (lines, total) = match pricing::price(&command.basket, command.expected_currency, prices)? {
            Ok(priced) => priced,
            Err(refusal) => return Ok(Decision::refuse(Order::Absent, refusal)),
        };
        let PlaceOrder {
            order_id,
            owner,
            payment_method,
            ..
        } = command;
        let method = Method::from(&payment_method);
        let order = Order::Pending {
            placed: Placed {
                order_id,
                owner: owner.clone(),
                lines: lines.clone(),
                total,
                method,
                page_url: None,
            },
        };
        let deadline = self.deadline(method);
        Ok(Decision::to(order.clone())
            .emit(Out::Created(order::Created {
                order_id,
                owner,
                lines,
                total,
                payment_method,
            }))
            .emit(Out::Deadline(Timer::In(deadline)))
            .reply(Reply { order, at: now }))
    }
}

fn cancel(placed: Placed, reason: CancelReason, money: Held) -> Decision<Orders> {
    let cancelled = order::Cancelled {
        order_id: placed.order_id,
        reason,
    };
    Decision::to(Order::Cancelled {
        placed,
        reason,
        money,
    })
    .emit(Out::Cancelled(cancelled))
}
