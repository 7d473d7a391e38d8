//! Ids that are derived from their cause, so that a retry writes the same id.

use uuid::Uuid;

/// Everything that is derived here lives below this namespace. Changing it changes every id: never.
const NAMESPACE: Uuid = Uuid::from_u128(0x6d0f_3a52_9d1b_4c0e_8b7a_51c6_2f0e_94d1);

/// Id of something that `participant` put out for `saga` because of `cause`: an event, an effect, a timer.
///
/// `kind` is its wire name, `ordinal` its place among the outputs of the same kind of one decision.
pub fn of_output(participant: &str, saga: &str, cause: Uuid, kind: &str, ordinal: usize) -> Uuid {
    derive(&[
        b"output",
        participant.as_bytes(),
        saga.as_bytes(),
        cause.as_bytes(),
        kind.as_bytes(),
        &(ordinal as u64).to_be_bytes(),
    ])
}

/// Id of a command: the same caller, method and idempotency key are the same command.
pub fn of_command(owner: &str, method: &str, idempotency_key: &str) -> Uuid {
    derive(&[
        b"command",
        owner.as_bytes(),
        method.as_bytes(),
        idempotency_key.as_bytes(),
    ])
}

/// Id of the `outcome`-th answer to an effect. An effect that an operator replays has a second outcome,
/// which must not be taken for the first.
pub fn of_outcome(effect: Uuid, outcome: u64) -> Uuid {
    derive(&[b"outcome", effect.as_bytes(), &outcome.to_be_bytes()])
}

/// Lengths stand before the parts, so that ("ab", "c") and ("a", "bc") differ.
fn derive(parts: &[&[u8]]) -> Uuid {
    let mut name = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part);
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_cause_gives_the_same_id_and_another_gives_another() {
        let cause = Uuid::from_u128(7);
        let id = of_output("order", "o-1", cause, "order.created", 0);
        assert_eq!(id, of_output("order", "o-1", cause, "order.created", 0));
        let others = [
            of_output("payment", "o-1", cause, "order.created", 0),
            of_output("order", "o-2", cause, "order.created", 0),
            of_output("order", "o-1", Uuid::from_u128(8), "order.created", 0),
            of_output("order", "o-1", cause, "order.cancelled", 0),
            of_output("order", "o-1", cause, "order.created", 1),
            of_output("ordero", "-1", cause, "order.created", 0),
        ];
        for other in others {
            assert_ne!(id, other);
        }
    }

    /// A rename or a change of the recipe would make a redelivered cause write a second event.
    #[test]
    fn the_recipe_is_pinned() {
        let id = of_output("order", "o-1", Uuid::nil(), "order.created", 0);
        assert_eq!(id.to_string(), "e90a3450-e164-50ea-aa4c-7ca64cc85e8d");
    }
}
