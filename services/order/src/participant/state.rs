use quadrille_contracts::OrderId;
use quadrille_contracts::order::{CancelReason, Line, PaymentMethod};
use saga_core::Money;
use serde::{Deserialize, Serialize};

/// What is known of one order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Order {
    /// It was never placed.
    #[default]
    Absent,
    /// Stock or payment is not yet decided. The only status in which it can be cancelled.
    Pending {
        /// What was placed.
        placed: Placed,
    },
    /// Paid, and the goods go out.
    Confirmed {
        /// What was placed.
        placed: Placed,
    },
    /// There was no stock for it.
    Rejected {
        /// What was placed.
        placed: Placed,
    },
    /// It is being undone, or is.
    Cancelled {
        /// What was placed.
        placed: Placed,
        /// Why it was cancelled.
        reason: CancelReason,
        /// Where its money is.
        money: Held,
    },
    /// Cancelled after it was paid, and the money went back.
    Refunded {
        /// What was placed.
        placed: Placed,
        /// Why it was cancelled.
        reason: CancelReason,
    },
}

/// What was placed: everything that is shown of an order but its status and its times.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Placed {
    /// The saga.
    pub order_id: OrderId,
    /// Who placed it.
    pub owner: String,
    /// What was ordered, at the price of that moment.
    pub lines: Vec<Line>,
    /// Sum of the lines.
    pub total: Money,
    /// How it is paid. The card itself is none of the order's business.
    pub method: Method,
    /// Where the customer pays, once that is known.
    pub page_url: Option<String>,
}

/// How an order is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// At once, with a card.
    Card,
    /// On a page of the provider.
    HostedPage,
}

/// Whether money of a cancelled order is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// Payment has not said yet.
    Unknown,
    /// None is: the order is settled.
    Nothing,
    /// It is, and the refund waits for an operator.
    Owed,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// See [`Order::Pending`].
    Pending,
    /// See [`Order::Confirmed`].
    Confirmed,
    /// See [`Order::Rejected`].
    Rejected,
    /// See [`Order::Cancelled`].
    Cancelled,
    /// See [`Order::Refunded`].
    Refunded,
}

impl Order {
    /// Where it stands, if it was placed.
    pub fn status(&self) -> Option<Status> {
        Some(match self {
            Order::Absent => return None,
            Order::Pending { .. } => Status::Pending,
            Order::Confirmed { .. } => Status::Confirmed,
            Order::Rejected { .. } => Status::Rejected,
            Order::Cancelled { .. } => Status::Cancelled,
            Order::Refunded { .. } => Status::Refunded,
        })
    }

    /// What was placed, if it was.
    pub fn placed(&self) -> Option<&Placed> {
        match self {
            Order::Absent => None,
            Order::Pending { placed }
            | Order::Confirmed { placed }
            | Order::Rejected { placed }
            | Order::Cancelled { placed, .. }
            | Order::Refunded { placed, .. } => Some(placed),
        }
    }

    /// Why it was cancelled, if it was.
    pub fn cancel_reason(&self) -> Option<CancelReason> {
        match self {
            Order::Cancelled { reason, .. } | Order::Refunded { reason, .. } => Some(*reason),
            Order::Absent | Order::Pending { .. } | Order::Confirmed { .. } | Order::Rejected { .. } => None,
        }
    }

    /// Cancelled, and none of its money is held.
    pub fn is_settled(&self) -> bool {
        matches!(
            self,
            Order::Cancelled {
                money: Held::Nothing,
                ..
            }
        )
    }

    /// Cancelled after it was paid, and the refund waits for an operator.
    pub fn is_money_owed(&self) -> bool {
        matches!(
            self,
            Order::Cancelled {
                money: Held::Owed,
                ..
            }
        )
    }

    /// Whether nothing more will happen to it by itself: its saga has ended, or it waits for an operator.
    /// Who watches an order watches until then.
    pub fn is_at_rest(&self) -> bool {
        match self {
            Order::Confirmed { .. } | Order::Rejected { .. } | Order::Refunded { .. } => true,
            Order::Cancelled { money, .. } => *money != Held::Unknown,
            Order::Absent | Order::Pending { .. } => false,
        }
    }
}

impl From<&PaymentMethod> for Method {
    fn from(method: &PaymentMethod) -> Self {
        match method {
            PaymentMethod::Card { .. } => Self::Card,
            PaymentMethod::HostedPage => Self::HostedPage,
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Status::Pending => "pending",
            Status::Confirmed => "confirmed",
            Status::Rejected => "rejected",
            Status::Cancelled => "cancelled",
            Status::Refunded => "refunded",
        })
    }
}
