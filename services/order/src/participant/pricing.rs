use quadrille_contracts::ProductId;
use quadrille_contracts::order::Line;
use saga_core::money::Error;
use saga_core::{Currency, Fault, Money, View};

use super::{Basket, Item, Refusal};

/// The lines of a basket and their sum, at the prices of this moment.
pub(super) fn price(
    basket: &Basket,
    expected: Option<Currency>,
    prices: &View<'_, ProductId, Money>,
) -> Result<Result<(Vec<Line>, Money), Refusal>, Fault> {
    let (mut lines, mut unknown) = (Vec::new(), Vec::new());
    for &Item { product_id, quantity } in basket.items() {
        match prices.get(&product_id)? {
            Some(&unit_price) => lines.push(Line {
                product_id,
                quantity,
                unit_price,
            }),
            None => unknown.push(product_id),
        }
    }
    if !unknown.is_empty() {
        return Ok(Err(Refusal::UnknownProducts { product_ids: unknown }));
    }
    Ok(total(&lines, expected).map(|total| (lines, total)))
}

fn total(lines: &[Line], expected: Option<Currency>) -> Result<Money, Refusal> {
    let currency = expected
        .or(lines.first().map(|line| line.unit_price.currency))
        .expect("a basket has an item");
    lines.iter().try_fold(Money::zero(currency), |sum, line| {
        line.unit_price
            .times(line.quantity)
            .and_then(|price| sum.plus(price))
            .map_err(|error| match error {
                Error::ForeignCurrency { left, right } => Refusal::CurrencyMismatch {
                    product_id: line.product_id,
                    expected: left,
                    found: right,
                },
                Error::Overflow | Error::NotACurrency => Refusal::Overflow,
            })
    })
}
