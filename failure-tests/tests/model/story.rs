//! A counterexample, told for people: what happened, and what it changed.

use std::fmt::Write;

use stateright::Path;

use crate::seat::{Seat, TOPICS};
use crate::shop::{Action, Happens, Saga, Who, World};

/// One line per thing that happened, with the states that it changed below it.
pub(crate) fn tell(path: Path<World, Action>) -> String {
    let mut story = String::new();
    let steps = path.into_vec();
    for pair in steps.windows(2) {
        let [(before, Some(action)), (after, _)] = pair else {
            continue;
        };
        let (old, new) = (&before.sagas[action.saga], &after.sagas[action.saga]);
        let line = line(old, &action.happens);
        writeln!(story, "order {}: {line}", action.saga + 1).expect("a string takes all");
        changed(&mut story, "order", &old.order, &new.order);
        changed(&mut story, "inventory", &old.inventory, &new.inventory);
        changed(&mut story, "payment", &old.payment, &new.payment);
        if before.shelf != after.shelf {
            writeln!(story, "      shelf: {:?}", after.shelf).expect("a string takes all");
        }
        if let Some(fault) = &after.fault {
            writeln!(story, "      FAULT: {fault}").expect("a string takes all");
        }
    }
    if let Some((last, _)) = steps.last() {
        for saga in &last.sagas {
            let books = (saga.provider.captured(), saga.provider.refunded());
            writeln!(
                story,
                "provider: took {} times, gave back {} times",
                books.0, books.1
            )
            .expect("a string takes all");
        }
    }
    story
}

fn line(saga: &Saga, happens: &Happens) -> String {
    let record = |topic: usize, index: Option<usize>| {
        index
            .and_then(|index| saga.logs.0[topic].get(index))
            .map_or("?", |record| record.name)
    };
    let effect = || saga.payment.effect.as_ref().map_or("?", |row| row.kind);
    match happens {
        Happens::Hears(who, topic) => format!(
            "{who:?} hears {}",
            record(*topic, Some(reading(saga, *who)[*topic].next))
        ),
        Happens::HearsSecondNext(who) => {
            format!(
                "{who:?} hears what comes after {}",
                record(0, Some(reading(saga, *who)[0].next))
            )
        }
        Happens::HearsHeldBack(who) => format!(
            "{who:?} hears {} at last",
            record(0, reading(saga, *who)[0].held_back)
        ),
        Happens::Republished { topic, index } => {
            format!(
                "{} is published to {} again",
                record(*topic, Some(*index)),
                TOPICS[*topic]
            )
        }
        Happens::CustomerCancels => "the customer cancels".into(),
        Happens::Fires(who, timer) => format!("{who:?}'s {timer} fires"),
        Happens::FiresLate(who, timer) => format!("{who:?}'s {timer} fires after it was cancelled"),
        Happens::Call { willing, lost } => {
            let how = if *willing { "does" } else { "refuses" };
            let lost = if *lost { ", and its answer is lost" } else { "" };
            format!("the provider {how} {}{lost}", effect())
        }
        Happens::Answer => format!("the answer to {} comes back", effect()),
        Happens::Exhausted => format!("{} is exhausted", effect()),
        Happens::Arrives { index, .. } => format!(
            "{} arrives at the provider after all",
            saga.provider.under_way[*index].0
        ),
        Happens::OperatorReplays => format!("an operator replays {}", effect()),
        Happens::CustomerPays => "the customer pays on the page".into(),
        Happens::PageEnds(how) => format!("the page ends at the provider: {how:?}"),
        Happens::Reported(page) => format!("the provider reports the page: {page:?}"),
    }
}

fn reading(saga: &Saga, who: Who) -> &[crate::seat::Cursor; 3] {
    match who {
        Who::Order => &saga.order.reading,
        Who::Inventory => &saga.inventory.reading,
        Who::Payment => &saga.payment.reading,
    }
}

fn changed<S: PartialEq + std::fmt::Debug>(story: &mut String, name: &str, old: &Seat<S>, new: &Seat<S>) {
    if old.state != new.state {
        writeln!(story, "      {name}: {:?}", new.state).expect("a string takes all");
    }
}
