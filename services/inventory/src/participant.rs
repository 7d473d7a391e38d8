//! Inventory's part in the order saga: hold every item of an order or none, then sell what is held or put
//! it back.
//!
//! A cancel may come before the order it undoes, twice, or late. So whatever ended stays as a barrier: an
//! order that is heard of after its end holds nothing.

use std::collections::BTreeSet;

use quadrille_contracts::stock::{self, Quantity, Shortage};
use quadrille_contracts::{OrderId, ProductId, order};
use saga_core::{At, Decision, Fault, Inputs, Outputs, Participant, Step, View, steps};

pub use shelf::Shelf;

/// The stock of one product.
mod shelf;

/// What no topic records of it.
mod replay;

#[cfg(test)]
mod tests;

/// Policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// The most units that come in at once; a typing error is larger.
    pub max_receipt: u64,
}

impl Default for Inventory {
    fn default() -> Self {
        Self {
            max_receipt: 1_000_000_000,
        }
    }
}

/// What one order holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Nothing was heard of the order.
    #[default]
    Absent,
    /// Its items are held.
    Held {
        /// Which, and how many.
        lines: Vec<Quantity>,
    },
    /// It holds nothing any more, and never will again.
    Closed(Closing),
}

/// How a hold came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closing {
    /// At least one item was short.
    Rejected,
    /// The order was confirmed, the goods are sold.
    Sold,
    /// The order was cancelled; what was held, if anything, is back on the shelf.
    Cancelled,
}

/// Units came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReceiveStock {
    /// Of which product.
    pub product_id: ProductId,
    /// How many.
    pub quantity: u64,
}

/// What inventory reacts to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Inputs)]
pub enum In {
    /// Hold its items.
    #[event]
    Created(order::Created),
    /// Sell what is held.
    #[event]
    Confirmed(order::Confirmed),
    /// Put back what is held.
    #[event]
    Cancelled(order::Cancelled),
    /// Put units on the shelf.
    #[command]
    ReceiveStock(ReceiveStock),
}

/// What inventory puts out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Outputs)]
pub enum Out {
    /// Every item is held.
    #[event]
    Reserved(stock::Reserved),
    /// None is.
    #[event]
    Rejected(stock::Rejected),
    /// What was held is sold.
    #[event]
    Committed(stock::Committed),
    /// What was held is back.
    #[event]
    Released(stock::Released),
}

/// Why stock was not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// None, or more than the policy allows.
    #[error("a receipt is of 1 to {max} units")]
    Quantity {
        /// The most that is allowed.
        max: u64,
    },
    /// The count of all that ever came in would leave its range.
    #[error("the shelf counts no further than {}", Shelf::MAX)]
    ShelfFull,
}

impl Participant for Inventory {
    const NAME: &'static str = "inventory";
    const STEPS: &'static [Step] = steps! { In, Out;
        Created      => [Reserved, Rejected];
        Confirmed    => [Committed];
        Cancelled    => [Released] undoes [Reserved];
        ReceiveStock => [];
    };
    type Key = OrderId;
    type State = Hold;
    type SharedKey = ProductId;
    type Shared = Shelf;
    type Input = In;
    type Output = Out;
    type Reply = Shelf;
    type Refusal = Refusal;

    fn key(&self, input: &In) -> Option<OrderId> {
        match input {
            In::Created(event) => Some(event.order_id),
            In::Confirmed(event) => Some(event.order_id),
            In::Cancelled(event) => Some(event.order_id),
            In::ReceiveStock(_) => None,
        }
    }

    fn touches(&self, hold: &Hold, input: &In) -> BTreeSet<ProductId> {
        match (hold, input) {
            (Hold::Absent, In::Created(event)) => event.lines.iter().map(|line| line.product_id).collect(),
            (Hold::Held { lines }, In::Confirmed(_) | In::Cancelled(_)) => {
                lines.iter().map(|line| line.product_id).collect()
            }
            (_, In::ReceiveStock(command)) => [command.product_id].into(),
            (Hold::Held { .. } | Hold::Closed(_), In::Created(_))
            | (Hold::Absent | Hold::Closed(_), In::Confirmed(_) | In::Cancelled(_)) => BTreeSet::new(),
        }
    }

    fn decide(
        &self,
        hold: Hold,
        shelves: &mut View<'_, ProductId, Shelf>,
        at: At<In>,
    ) -> Result<Decision<Self>, Fault> {
        use Closing::{Cancelled, Rejected, Sold};
        Ok(match (hold, at.input) {
            (Hold::Absent, In::Created(event)) => reserve(shelves, event)?,
            (Hold::Held { lines }, In::Confirmed(order::Confirmed { order_id })) => {
                change(shelves, &lines, Shelf::sell)?;
                Decision::to(Hold::Closed(Sold)).emit(Out::Committed(stock::Committed { order_id, lines }))
            }
            (Hold::Held { lines }, In::Cancelled(order::Cancelled { order_id, .. })) => {
                change(shelves, &lines, Shelf::put_back)?;
                Decision::to(Hold::Closed(Cancelled)).emit(Out::Released(stock::Released { order_id, lines }))
            }
            // The cancel overtook its order: the barrier that the order will find.
            (Hold::Absent, In::Cancelled(_)) => Decision::to(Hold::Closed(Cancelled)),

            // Seen before.
            (hold @ (Hold::Held { .. } | Hold::Closed(_)), In::Created(_)) => Decision::ignore(hold),
            (hold @ Hold::Closed(Sold), In::Confirmed(_)) => Decision::ignore(hold),
            // Seen before, or the customer cancelled before the order heard that it was short.
            (hold @ Hold::Closed(Cancelled | Rejected), In::Cancelled(_)) => Decision::ignore(hold),

            (Hold::Absent | Hold::Closed(Rejected | Cancelled), In::Confirmed(_)) => {
                return Err(Fault::impossible(
                    "an order was confirmed for which nothing is held",
                ));
            }
            (Hold::Closed(Sold), In::Cancelled(_)) => {
                return Err(Fault::impossible(
                    "an order was cancelled after its goods were sold",
                ));
            }

            (hold, In::ReceiveStock(ReceiveStock { product_id, quantity })) => {
                if !(1..=self.max_receipt).contains(&quantity) {
                    return Ok(Decision::refuse(
                        hold,
                        Refusal::Quantity {
                            max: self.max_receipt,
                        },
                    ));
                }
                let shelf = shelves.get(&product_id)?.copied().unwrap_or_default();
                match shelf.receive(quantity) {
                    Some(shelf) => {
                        shelves.put(product_id, shelf)?;
                        Decision::to(hold).reply(shelf)
                    }
                    None => Decision::refuse(hold, Refusal::ShelfFull),
                }
            }
        })
    }

    fn is_ended(&self, hold: &Hold) -> bool {
        matches!(hold, Hold::Closed(_))
    }
}

/// Holds every line of an order, or none if one is short.
fn reserve(
    shelves: &mut View<'_, ProductId, Shelf>,
    event: order::Created,
) -> Result<Decision<Inventory>, Fault> {
    let mut seen = BTreeSet::new();
    if !event.lines.iter().all(|line| seen.insert(line.product_id)) {
        return Err(Fault::impossible("an order names a product twice"));
    }
    let order_id = event.order_id;
    let (mut held, mut lines, mut shortages) = (Vec::new(), Vec::new(), Vec::new());
    for order::Line {
        product_id, quantity, ..
    } in event.lines
    {
        let shelf = shelves.get(&product_id)?.copied().unwrap_or_default();
        match shelf.hold(quantity) {
            Some(shelf) => {
                held.push((product_id, shelf));
                lines.push(Quantity { product_id, quantity });
            }
            None => shortages.push(Shortage {
                product_id,
                requested: quantity,
                available: shelf.on_hand,
            }),
        }
    }
    if !shortages.is_empty() {
        let rejected = stock::Rejected { order_id, shortages };
        return Ok(Decision::to(Hold::Closed(Closing::Rejected)).emit(Out::Rejected(rejected)));
    }
    for (product_id, shelf) in held {
        shelves.put(product_id, shelf)?;
    }
    let reserved = stock::Reserved {
        order_id,
        lines: lines.clone(),
    };
    Ok(Decision::to(Hold::Held { lines }).emit(Out::Reserved(reserved)))
}

/// Takes every line of a hold off its shelf's held units, in one of the two ways.
fn change(
    shelves: &mut View<'_, ProductId, Shelf>,
    lines: &[Quantity],
    way: fn(&Shelf, u32) -> Option<Shelf>,
) -> Result<(), Fault> {
    for line in lines {
        let shelf = shelves
            .get(&line.product_id)?
            .and_then(|shelf| way(shelf, line.quantity))
            .ok_or_else(|| {
                Fault::impossible(format!(
                    "the shelf of {} holds less than its orders",
                    line.product_id
                ))
            })?;
        shelves.put(line.product_id, shelf)?;
    }
    Ok(())
}
