use std::collections::BTreeSet;

use quadrille_contracts::order::PaymentMethod;
use quadrille_contracts::{OrderId, ProductId};
use quadrille_proto::order::v1 as proto;
use quadrille_proto::order::v1::payment_method::Method;
use saga_core::Currency;
use saga_runtime::Idempotency;
use saga_runtime::grpc::Violations;
use tonic::Status;
use uuid::Uuid;

use crate::participant::{Basket, Item, PlaceOrder};

const OWNER_MAX_BYTES: usize = 128;
const TOKEN_MAX_BYTES: usize = 128;

/// The command, or everything that is wrong with the request.
///
/// The order's id is derived from what makes the call the same call, so that a retry speaks of the same order
/// even after its first answer was forgotten.
pub(super) fn command(request: proto::PlaceOrderRequest, id: &Idempotency) -> Result<PlaceOrder, Status> {
    let mut violations = Violations::default();
    violations.text("owner", &request.owner, 1, OWNER_MAX_BYTES);
    let basket = basket(&request.items, &mut violations);
    let payment_method = payment_method(request.payment_method, &mut violations);
    let expected_currency = request.expected_currency_code.and_then(|code| {
        violations.check(
            "expected_currency_code",
            code.parse::<Currency>(),
            "has to be three capital letters, as ISO 4217 lists them",
        )
    });
    let (basket, payment_method) = violations.finish(basket.zip(payment_method))?;
    let command = saga_core::id::of_command(&id.owner, &id.method, &id.key);
    Ok(PlaceOrder {
        order_id: OrderId(Uuid::new_v5(&command, b"order")),
        owner: request.owner,
        basket,
        payment_method,
        expected_currency,
    })
}

fn basket(items: &[proto::PlaceOrderItem], violations: &mut Violations) -> Option<Basket> {
    if !(1..=Basket::MAX_ITEMS).contains(&items.len()) {
        let found = items.len();
        violations.add(
            "items",
            format_args!("have to be 1 to {}, not {found}", Basket::MAX_ITEMS),
        );
        return None;
    }
    let mut wanted = Vec::with_capacity(items.len());
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let product_id = violations.check(
            format_args!("items[{index}].product_id"),
            item.product_id.parse::<Uuid>(),
            "has to be a UUID",
        );
        let quantity = u32::try_from(item.quantity)
            .ok()
            .filter(|quantity| (1..=Basket::MAX_QUANTITY).contains(quantity));
        let quantity = violations.check(
            format_args!("items[{index}].quantity"),
            quantity.ok_or(()),
            format_args!("has to be 1 to {}, not {}", Basket::MAX_QUANTITY, item.quantity),
        );
        let Some((product_id, quantity)) = product_id.zip(quantity) else {
            continue;
        };
        if seen.insert(product_id) {
            wanted.push(Item {
                product_id: ProductId(product_id),
                quantity,
            });
        } else {
            violations.add(format_args!("items[{index}].product_id"), "comes twice");
        }
    }
    if wanted.len() < items.len() {
        return None;
    }
    // The participant has the last word on what a basket is.
    Basket::new(wanted)
        .map_err(|error| violations.add("items", error))
        .ok()
}

fn payment_method(
    method: Option<proto::PaymentMethod>,
    violations: &mut Violations,
) -> Option<PaymentMethod> {
    match method.and_then(|method| method.method) {
        Some(Method::Card(proto::Card { token })) => {
            violations.text("payment_method.card.token", &token, 1, TOKEN_MAX_BYTES);
            Some(PaymentMethod::Card { token })
        }
        Some(Method::HostedPage(proto::HostedPage {})) => Some(PaymentMethod::HostedPage),
        None => {
            violations.add("payment_method", "is required: a card or a hosted page");
            None
        }
    }
}
