//! What is known of one order: which of its events stand in the topics, and what each service's own table says.
//!
//! One of these is kept per order while a slice of the orders is looked at, so it is small.

use std::str::FromStr;

use quadrille_contracts::{order, payment, stock};
use saga_core::Event;
use saga_core::audit::KeyOrder;

/// The topics of an order, by index. They share their key and their number of partitions.
pub(super) const TOPICS: [&str; 3] = [order::TOPIC, stock::TOPIC, payment::TOPIC];

/// Who reads what; by the index of [`TOPICS`].
pub(super) const READERS: [(&str, &[usize]); 3] =
    [("order", &[1, 2]), ("inventory", &[0]), ("payment", &[0, 1])];

/// The events of an order, by index.
pub(super) const EVENTS: [&str; 16] = [
    order::Created::NAME,
    order::Confirmed::NAME,
    order::Rejected::NAME,
    order::Cancelled::NAME,
    order::Refunded::NAME,
    stock::Reserved::NAME,
    stock::Rejected::NAME,
    stock::Committed::NAME,
    stock::Released::NAME,
    payment::Created::NAME,
    payment::Succeeded::NAME,
    payment::Failed::NAME,
    payment::Expired::NAME,
    payment::Voided::NAME,
    payment::Refunded::NAME,
    payment::RefundFailed::NAME,
];

/// A partition and an offset in it, in eight bytes: there are as many of these as orders. Nowhere at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place(u64);

/// Enough for any offset; what is left is enough for any partition.
const OFFSET_BITS: u32 = 48;

impl Place {
    pub(super) fn behind(partition: i32, offset: i64) -> Self {
        let partition = u64::try_from(partition).unwrap_or(0) << OFFSET_BITS;
        Self(partition | (u64::try_from(offset).unwrap_or(0) + 1))
    }

    pub(super) fn is_somewhere(self) -> bool {
        self.0 != 0
    }

    pub(super) fn partition(self) -> usize {
        usize::try_from(self.0 >> OFFSET_BITS).unwrap_or(usize::MAX)
    }

    /// The first offset behind it.
    pub(super) fn next(self) -> i64 {
        i64::try_from(self.0 & ((1 << OFFSET_BITS) - 1)).unwrap_or(i64::MAX)
    }
}

/// A set of [`EVENTS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Events(u16);

impl Events {
    pub(super) fn of(name: &str) -> Self {
        EVENTS
            .iter()
            .position(|known| *known == name)
            .map_or(Self(0), |index| Self(1 << index))
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn has(self, other: Self) -> bool {
        other.0 != 0 && self.0 & other.0 == other.0
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        EVENTS
            .iter()
            .enumerate()
            .filter(move |(index, _)| self.0 & (1 << index) != 0)
            .map(|(_, name)| *name)
    }
}

/// A word in a table that this build does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no state that this build knows; audit with the build that runs")]
pub(super) struct Unknown(String);

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum $name {
            #[default]
            Absent,
            $($variant),+
        }

        impl FromStr for $name {
            type Err = Unknown;

            fn from_str(text: &str) -> Result<Self, Unknown> {
                match text {
                    "absent" => Ok(Self::Absent),
                    $($text => Ok(Self::$variant),)+
                    _ => Err(Unknown(text.to_owned())),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    Self::Absent => "absent",
                    $(Self::$variant => $text),+
                })
            }
        }
    };
}

states! {
    /// `orders.status`, with where the money of a cancelled one is.
    Order {
        Pending = "pending",
        Confirmed = "confirmed",
        Rejected = "rejected",
        Cancelled = "cancelled",
        CancelledNothing = "cancelled, nothing held",
        CancelledOwed = "cancelled, money owed",
        Refunded = "refunded",
    }
}

states! {
    /// `hold.state`
    Hold {
        Held = "held",
        Rejected = "rejected",
        Sold = "sold",
        Cancelled = "cancelled",
    }
}

states! {
    /// `payment.state`
    Payment {
        StockFirst = "stock_first",
        AwaitingStock = "awaiting_stock",
        Asking = "asking",
        PageOpen = "page_open",
        Captured = "captured",
        Refunding = "refunding",
        RefundParked = "refund_parked",
        Refunded = "refunded",
        Failed = "failed",
        Expired = "expired",
        Voided = "voided",
        Rejected = "rejected",
    }
}

/// What else is known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes(u16);

impl Notes {
    /// Placed since the audit's beginning: all of its events have to be there.
    pub(super) const WHOLE: Self = Self(1);
    /// Paid with a card.
    pub(super) const CARD: Self = Self(1 << 1);
    /// Its deadline is set.
    pub(super) const DEADLINE: Self = Self(1 << 2);
    /// It waits for a call to the outside, or for another timer.
    pub(super) const WAITS: Self = Self(1 << 3);
    /// Committed, and not acknowledged by the broker.
    pub(super) const UNPUBLISHED: Self = Self(1 << 4);
    /// Parked, at the relay or with a participant.
    pub(super) const PARKED: Self = Self(1 << 5);
    /// Something of it was thrown away by an operator.
    pub(super) const DISCARDED: Self = Self(1 << 6);
    /// Ended so long ago that inventory may have pruned its hold.
    pub(super) const LONG_ENDED: Self = Self(1 << 7);
    /// The tables were asked for it.
    pub(super) const LOOKED_UP: Self = Self(1 << 8);
    /// Its payment is of another amount than its order.
    pub(super) const OTHER_AMOUNT: Self = Self(1 << 9);

    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// One order.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    /// Events that stand in the topics.
    pub(super) seen: Events,
    /// Events that stand in an outbox, and of which the relay says that the broker has them.
    pub(super) acknowledged: Events,
    pub(super) order: Order,
    pub(super) hold: Hold,
    pub(super) payment: Payment,
    pub(super) notes: Notes,
    pub(super) total_minor: i64,
    pub(super) currency: [u8; 3],
    /// By topic: the order in which its events came.
    pub(super) told: [KeyOrder; TOPICS.len()],
    /// By topic: the place behind the last of them.
    pub(super) next: [Place; TOPICS.len()],
}

impl Life {
    /// Forgets what the tables said.
    pub(super) fn forget_states(&mut self) {
        *self = Self {
            seen: self.seen,
            acknowledged: self.acknowledged,
            told: self.told,
            next: self.next,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_of_an_orders_topics_is_known() {
        let ours = quadrille_contracts::schema::all();
        let names: Vec<&str> = ours
            .iter()
            .filter_map(|(schema, _)| schema.split_once('/'))
            .map(|(name, _)| name)
            .filter(|name| !name.starts_with("product."))
            .collect();
        assert_eq!(names.len(), EVENTS.len());
        for name in names {
            let event = Events::of(name);
            assert_eq!(event.names().collect::<Vec<_>>(), [name]);
        }
        assert!(Events::of("order.gift_wrapped").is_empty());
        assert!(!Events::default().has(Events::of("order.gift_wrapped")));
    }

    #[test]
    fn a_place_keeps_both() {
        let place = Place::behind(4_711, 281_000_000_000_000);
        assert_eq!((place.partition(), place.next()), (4_711, 281_000_000_000_001));
        assert!(Place::behind(0, 0).is_somewhere());
        assert!(!Place::default().is_somewhere());
    }

    /// A million of them should fit where nobody minds.
    #[test]
    fn a_life_is_small() {
        assert!(size_of::<Life>() <= 104, "{} bytes", size_of::<Life>());
    }
}
