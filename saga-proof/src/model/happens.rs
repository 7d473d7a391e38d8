//! What may happen next, and what it does.

use std::sync::Arc;

use saga_core::{Emission, Timer};

use super::Inner;
use super::log::{Entry, Record};
use super::part::Comes;
use super::world::{Life, Row, Saga, Seat, Stage, World};

/// What happens next, and to which saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) saga: usize,
    pub(crate) happens: Happens,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Happens {
    /// A participant reads on.
    Hears {
        part: usize,
        topic: usize,
    },
    /// It hears what comes after that: somebody has parked the one in front.
    HearsSecondNext {
        part: usize,
        topic: usize,
    },
    /// What was parked is replayed.
    HearsHeldBack {
        part: usize,
        topic: usize,
    },
    /// A record is published once more, under a new position.
    Republished {
        topic: usize,
        index: usize,
    },
    /// A command, by its place among the model's.
    Given(usize),
    /// Something outside, by its place, and which of the ways that it may go.
    Outside {
        act: usize,
        way: usize,
    },
    Fires {
        part: usize,
        timer: &'static str,
    },
    FiresLate {
        part: usize,
        timer: &'static str,
    },
    /// The world outside is called; which of the ways that may go, and whether its answer is lost.
    Call {
        part: usize,
        way: usize,
        lost: bool,
    },
    /// The answer is decided.
    Answer {
        part: usize,
    },
    /// It was tried often enough. A call may still be under way.
    Exhausted {
        part: usize,
    },
    /// It arrives after all.
    Arrives {
        index: usize,
        way: usize,
    },
    /// An operator has an exhausted effect tried again.
    Replayed {
        part: usize,
    },
}

type Fault = String;

impl<O: super::Outside> Inner<O> {
    pub(crate) fn possible(&self, world: &World<O>, saga: usize, actions: &mut Vec<Action>) {
        let life = &world.sagas[saga];
        let left = life.left;
        let mut may = |happens| actions.push(Action { saga, happens });
        for (part, seat) in life.seats.iter().enumerate() {
            for (topic, cursor) in seat.reading.iter().enumerate() {
                if cursor.next < life.logs[topic].len() {
                    may(Happens::Hears { part, topic });
                }
                if cursor.held_back.is_some() {
                    may(Happens::HearsHeldBack { part, topic });
                } else if left.overtaken > 0 && self.second_next(life, part, topic).is_some() {
                    may(Happens::HearsSecondNext { part, topic });
                }
            }
            for timer in seat.timers.iter().copied() {
                may(Happens::Fires { part, timer });
            }
            if left.late_timers > 0 {
                for timer in seat.cancelled_timers.iter().copied() {
                    may(Happens::FiresLate { part, timer });
                }
            }
            if let Some(row) = &seat.effect {
                match &row.stage {
                    Stage::Ready => {
                        let ways = self.ways(&world.outside, row.kind, &row.data);
                        for (way, (outside, _)) in ways.iter().enumerate() {
                            may(Happens::Call {
                                part,
                                way,
                                lost: false,
                            });
                            if left.lost > 0 && *outside != world.outside {
                                may(Happens::Call {
                                    part,
                                    way,
                                    lost: true,
                                });
                            }
                        }
                        if left.exhausted > 0 {
                            may(Happens::Exhausted { part });
                        }
                    }
                    Stage::Answered(_) => may(Happens::Answer { part }),
                    Stage::Exhausted if left.replayed > 0 => may(Happens::Replayed { part }),
                    Stage::Exhausted => {}
                }
            }
        }
        if left.republished > 0 {
            for (topic, log) in life.logs.iter().enumerate() {
                for index in 0..log.len() {
                    may(Happens::Republished { topic, index });
                }
            }
        }
        for (index, (kind, data)) in life.under_way.iter().enumerate() {
            for way in 0..self.ways(&world.outside, kind, data).len() {
                may(Happens::Arrives { index, way });
            }
        }
        let view = self.view(world, saga);
        for (index, command) in self.commands.iter().enumerate() {
            if (command.give)(view).is_some() {
                may(Happens::Given(index));
            }
        }
        for (act, outside) in self.acts.iter().enumerate() {
            for way in 0..(outside.ways)(view).len() {
                may(Happens::Outside { act, way });
            }
        }
    }

    /// `false`: nothing has changed, because a command was refused.
    pub(crate) fn happen(&self, world: &mut World<O>, saga: usize, happens: &Happens) -> Result<bool, Fault> {
        match *happens {
            Happens::Hears { part, topic } => {
                let cursor = &mut world.sagas[saga].seats[part].reading[topic];
                let index = cursor.next;
                cursor.next += 1;
                self.hear(world, saga, part, topic, index)
            }
            Happens::HearsSecondNext { part, topic } => {
                let life = &mut world.sagas[saga];
                let second = self
                    .second_next(life, part, topic)
                    .ok_or("nothing comes after it")?;
                life.left.overtaken -= 1;
                let cursor = &mut life.seats[part].reading[topic];
                cursor.held_back = Some(cursor.next);
                cursor.next = second + 1;
                self.hear(world, saga, part, topic, second)
            }
            Happens::HearsHeldBack { part, topic } => {
                let cursor = &mut world.sagas[saga].seats[part].reading[topic];
                let index = cursor.held_back.take().ok_or("nothing is held back")?;
                self.hear(world, saga, part, topic, index)
            }
            Happens::Republished { topic, index } => {
                let life = &mut world.sagas[saga];
                life.left.republished -= 1;
                let record = Arc::clone(&life.logs[topic][index].record);
                life.logs[topic].push(Entry { record, again: true });
                Ok(true)
            }
            Happens::Given(index) => {
                let command = &self.commands[index];
                let given = (command.give)(self.view(world, saga)).ok_or("nobody gives this command")?;
                self.decide(world, saga, command.part, Comes::Command(&*given))
            }
            Happens::Outside { act, way } => {
                let mut ways = (self.acts[act].ways)(self.view(world, saga));
                world.outside = ways.swap_remove(way);
                Ok(true)
            }
            Happens::Fires { part, timer } => {
                world.sagas[saga].seats[part].timers.remove(timer);
                self.decide(world, saga, part, Comes::Timer(timer))
            }
            Happens::FiresLate { part, timer } => {
                let life = &mut world.sagas[saga];
                life.left.late_timers -= 1;
                life.seats[part].cancelled_timers.remove(timer);
                self.decide(world, saga, part, Comes::Timer(timer))
            }
            Happens::Call { part, way, lost } => {
                let life = &mut world.sagas[saga];
                let row = life.seats[part].effect.as_mut().ok_or("no effect is ready")?;
                let (outside, answer) = self.ways(&world.outside, row.kind, &row.data).swap_remove(way);
                world.outside = outside;
                match lost {
                    true => life.left.lost -= 1,
                    false => row.stage = Stage::Answered(answer.to_string().into()),
                }
                Ok(true)
            }
            Happens::Answer { part } => self.answer(world, saga, part),
            Happens::Exhausted { part } => {
                let life = &mut world.sagas[saga];
                life.left.exhausted -= 1;
                let row = life.seats[part].effect.clone().ok_or("no effect is ready")?;
                let ways = self.ways(&world.outside, row.kind, &row.data);
                if ways.iter().any(|(outside, _)| *outside != world.outside) {
                    life.under_way.push((row.kind, row.data));
                }
                self.answer(world, saga, part)
            }
            Happens::Arrives { index, way } => {
                let life = &mut world.sagas[saga];
                let (kind, data) = life.under_way.remove(index);
                let (outside, _) = self.ways(&world.outside, kind, &data).swap_remove(way);
                world.outside = outside;
                Ok(true)
            }
            Happens::Replayed { part } => {
                let life = &mut world.sagas[saga];
                life.left.replayed -= 1;
                let row = life.seats[part].effect.as_mut().ok_or("no effect is exhausted")?;
                row.stage = Stage::Ready;
                Ok(true)
            }
        }
    }

    fn answer(&self, world: &mut World<O>, saga: usize, part: usize) -> Result<bool, Fault> {
        let (kind, raw) = world.sagas[saga].seats[part]
            .take_outcome()
            .ok_or("there is no answer")?;
        self.decide(world, saga, part, Comes::Outcome { kind, raw: &raw })
    }

    fn hear(
        &self,
        world: &mut World<O>,
        saga: usize,
        part: usize,
        topic: usize,
        index: usize,
    ) -> Result<bool, Fault> {
        let record = Arc::clone(&world.sagas[saga].logs[topic][index].record);
        self.decide(world, saga, part, Comes::Event(&record))
    }

    /// Decides, and does with what is put out what the engine does.
    pub(crate) fn decide(
        &self,
        world: &mut World<O>,
        saga: usize,
        part: usize,
        comes: Comes<'_>,
    ) -> Result<bool, Fault> {
        let is_outcome = matches!(comes, Comes::Outcome { .. });
        let who = &self.parts[part];
        let life = &mut world.sagas[saga];
        let decided = who.decide(
            &life.seats[part].state,
            &world.shared[part],
            comes,
            &self.recorder,
        )?;
        if decided.refused {
            return Ok(false);
        }
        world.shared[part] = decided.shared;
        life.seats[part].state = decided.state;
        for put in decided.puts {
            let seat = &mut life.seats[part];
            match put {
                Emission::Event {
                    topic,
                    name,
                    schema,
                    key,
                    data,
                } => {
                    if key != self.keys[saga] {
                        return Err(format!(
                            "{} told {name} of {key}, and not of its saga {}",
                            who.name(),
                            self.keys[saga]
                        ));
                    }
                    let record = Arc::new(Record::new(topic, name, schema, data));
                    life.logs[self.topic(topic)].push(Entry { record, again: false });
                }
                Emission::Effect { kind, data } => put_effect(seat, who.name(), kind, data, is_outcome)?,
                Emission::Timer { name, timer } => match timer {
                    Timer::In(_) => {
                        seat.cancelled_timers.remove(name);
                        seat.timers.insert(name);
                    }
                    Timer::Cancel => {
                        if seat.timers.remove(name) {
                            seat.cancelled_timers.insert(name);
                        }
                    }
                },
            }
        }
        Ok(true)
    }

    /// What may come of a call: the world outside afterwards, and the answer.
    fn ways(&self, outside: &O, kind: &str, data: &[u8]) -> Vec<(O, serde_json::Value)> {
        match self.effects.get(kind) {
            Some(perform) => perform(outside, data),
            None => {
                panic!("the model says nothing of the effect {kind}; say with .effect(…) what may come of it")
            }
        }
    }

    /// The record after the next, if both are there to be read.
    fn second_next(&self, life: &Life, part: usize, topic: usize) -> Option<usize> {
        let log = &life.logs[topic];
        let first = life.seats[part].reading[topic].next;
        (first + 1..log.len()).find(|&index| self.parts[part].hears(&log[index].record))
    }

    pub(crate) fn view<'w>(&'w self, world: &'w World<O>, index: usize) -> Saga<'w, O> {
        Saga {
            world,
            parts: &self.parts,
            keys: &self.keys,
            index,
        }
    }

    fn topic(&self, name: &str) -> usize {
        let found = self.topics.iter().position(|topic| *topic == name);
        found.expect("the topics of all participants are known")
    }
}

/// At most one effect is outstanding, and only the outcome of an exhausted one may put another in its place.
fn put_effect(
    seat: &mut Seat,
    who: &str,
    kind: &'static str,
    data: Vec<u8>,
    is_outcome: bool,
) -> Result<(), Fault> {
    let has_room = match &seat.effect {
        None => true,
        Some(row) => is_outcome && row.stage == Stage::Exhausted,
    };
    if !has_room {
        return Err(format!(
            "{who} put out {kind} while another effect is outstanding"
        ));
    }
    seat.effect = Some(Row {
        kind,
        data: data.into(),
        stage: Stage::Ready,
    });
    Ok(())
}
