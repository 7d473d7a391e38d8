use serde::{Deserialize, Serialize};

/// The units of one product. At all times `on_hand + held + sold = received`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shelf {
    /// All that ever came in.
    pub received: u64,
    /// What no order holds.
    pub on_hand: u64,
    /// What waits for the end of an order.
    pub held: u64,
    /// What left with confirmed orders.
    pub sold: u64,
}

impl Shelf {
    /// The most units that a shelf counts: what fits a signed 64-bit column and field.
    pub const MAX: u64 = i64::MAX.unsigned_abs();

    /// Units come in. `None` if they cannot be counted.
    #[must_use]
    pub fn receive(&self, quantity: u64) -> Option<Shelf> {
        let received = self
            .received
            .checked_add(quantity)
            .filter(|sum| *sum <= Self::MAX)?;
        Some(Shelf {
            received,
            on_hand: self.on_hand.checked_add(quantity)?,
            ..*self
        })
    }

    /// An order takes units. `None` if there are too few.
    #[must_use]
    pub fn hold(&self, quantity: u32) -> Option<Shelf> {
        let quantity = u64::from(quantity);
        Some(Shelf {
            on_hand: self.on_hand.checked_sub(quantity)?,
            held: self.held.checked_add(quantity)?,
            ..*self
        })
    }

    /// The order was cancelled. `None` if fewer units are held.
    #[must_use]
    pub fn put_back(&self, quantity: u32) -> Option<Shelf> {
        let quantity = u64::from(quantity);
        Some(Shelf {
            held: self.held.checked_sub(quantity)?,
            on_hand: self.on_hand.checked_add(quantity)?,
            ..*self
        })
    }

    /// The order was confirmed. `None` if fewer units are held.
    #[must_use]
    pub fn sell(&self, quantity: u32) -> Option<Shelf> {
        let quantity = u64::from(quantity);
        Some(Shelf {
            held: self.held.checked_sub(quantity)?,
            sold: self.sold.checked_add(quantity)?,
            ..*self
        })
    }

    /// Whether every unit that came in is somewhere.
    #[must_use]
    pub fn balances(&self) -> bool {
        let there = self
            .on_hand
            .checked_add(self.held)
            .and_then(|sum| sum.checked_add(self.sold));
        there == Some(self.received)
    }
}
