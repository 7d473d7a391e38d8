//! A counterexample, told for people: what happened, and what it changed.

use std::fmt::{Debug, Write};

use super::happens::{Action, Happens};
use super::world::{Life, World};
use super::{Inner, Outside};

/// One line per thing that happened, with what it changed below it.
pub(crate) fn tell<O: Outside>(model: &Inner<O>, steps: Vec<(World<O>, Option<Action>)>) -> String {
    let mut story = Story::default();
    let several = model.keys.len() > 1;
    for pair in steps.windows(2) {
        let [(before, Some(action)), (after, _)] = pair else {
            continue;
        };
        let whose = match several {
            true => format!("saga {}: ", action.saga + 1),
            false => String::new(),
        };
        let line = line(model, &before.sagas[action.saga], &action.happens);
        story.line(format_args!("{whose}{line}"));
        story.changes(model, before, after, action.saga);
    }
    story.0
}

#[derive(Default)]
struct Story(String);

impl Story {
    fn line(&mut self, line: impl std::fmt::Display) {
        writeln!(self.0, "{line}").expect("a string takes all");
    }

    fn changed<T: PartialEq + Debug>(&mut self, name: &str, old: &T, new: &T) {
        if old != new {
            self.line(format_args!("      {name}: {new:?}"));
        }
    }

    fn changes<O: Outside>(&mut self, model: &Inner<O>, old: &World<O>, new: &World<O>, saga: usize) {
        let seats = old.sagas[saga].seats.iter().zip(&new.sagas[saga].seats);
        for ((old, new), part) in seats.zip(&model.parts) {
            self.changed(part.name(), &old.state, &new.state);
            self.changed(&format!("{}'s timers", part.name()), &old.timers, &new.timers);
        }
        for ((old, new), part) in old.shared.iter().zip(&new.shared).zip(&model.parts) {
            self.changed(&format!("{}'s rows", part.name()), old, new);
        }
        let logs = old.sagas[saga].logs.iter().zip(&new.sagas[saga].logs);
        for (old, new) in logs {
            for entry in new.iter().skip(old.len()).filter(|entry| !entry.again) {
                self.line(format_args!("      told: {}", entry.record.name));
            }
        }
        self.changed("outside", &old.outside, &new.outside);
        if let Some(fault) = &new.fault {
            self.line(format_args!("      FAULT: {fault}"));
        }
    }
}

fn line<O: Outside>(model: &Inner<O>, life: &Life, happens: &Happens) -> String {
    let who = |part: usize| model.parts[part].name();
    let record = |topic: usize, index: Option<usize>| {
        let entry = index.and_then(|index| life.logs[topic].get(index));
        entry.map_or("?", |entry| entry.record.name)
    };
    let effect = |part: usize| life.seats[part].effect.as_ref().map_or("?", |row| row.kind);
    let reading = |part: usize, topic: usize| life.seats[part].reading[topic];
    match *happens {
        Happens::Hears { part, topic } => {
            format!(
                "{} hears {}",
                who(part),
                record(topic, Some(reading(part, topic).next))
            )
        }
        Happens::HearsSecondNext { part, topic } => format!(
            "{} parks {}, and hears what comes after it",
            who(part),
            record(topic, Some(reading(part, topic).next))
        ),
        Happens::HearsHeldBack { part, topic } => format!(
            "{} hears {} at last",
            who(part),
            record(topic, reading(part, topic).held_back)
        ),
        Happens::Republished { topic, index } => format!(
            "{} is published to {} again",
            record(topic, Some(index)),
            model.topics[topic]
        ),
        Happens::Given(command) => model.commands[command].who.to_owned(),
        Happens::Outside { act, .. } => format!("outside: {}", model.acts[act].what),
        Happens::Fires { part, timer } => format!("{}'s {timer} fires", who(part)),
        Happens::FiresLate { part, timer } => {
            format!("{}'s {timer} fires after it was cancelled", who(part))
        }
        Happens::Call { part, lost, .. } => {
            let lost = if lost { ", and its answer is lost" } else { "" };
            format!("{}'s {} is done outside{lost}", who(part), effect(part))
        }
        Happens::Answer { part } => format!("the answer to {}'s {} comes back", who(part), effect(part)),
        Happens::Exhausted { part } => format!("{}'s {} is exhausted", who(part), effect(part)),
        Happens::Arrives { index, .. } => format!("{} arrives outside after all", life.under_way[index].0),
        Happens::Replayed { part } => format!("an operator has {}'s {} tried again", who(part), effect(part)),
    }
}
