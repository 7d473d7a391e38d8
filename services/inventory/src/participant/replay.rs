use quadrille_contracts::{OrderId, ProductId, order, stock};
use saga_core::Event as _;
use saga_core::replay::{Replay, Told};

use super::{Hold, In, Inventory, Shelf};

/// Deliveries are in no topic, so shelves are not known: as empty as a rejection says, or else full enough.
impl Replay for Inventory {
    const BEGINS: &'static str = order::Created::NAME;

    fn unrecorded(&self, _: &OrderId, _: &Hold, _: &[Told]) -> Vec<In> {
        Vec::new()
    }

    fn row(&self, product_id: &ProductId, told: &[Told]) -> Option<Shelf> {
        const PLENTY: u64 = 1 << 40;
        let rejected = told
            .iter()
            .find(|event| event.name == stock::Rejected::NAME)
            .and_then(|event| stock::Rejected::decode(event.version, event.data.to_string().as_bytes()).ok());
        let short = rejected.and_then(|rejected| {
            let mut shortages = rejected.shortages.into_iter();
            shortages.find(|shortage| shortage.product_id == *product_id)
        });
        let on_hand = short.map_or(PLENTY, |shortage| shortage.available);
        Some(Shelf {
            received: on_hand + PLENTY,
            on_hand,
            held: PLENTY,
            sold: 0,
        })
    }
}
