use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Difference, Outcome, Recorded, Replay, Told};
use crate::input::{At, InputKind, Inputs};
use crate::output::{Emission, Outputs};
use crate::view::Rows;

/// More ways than this through one saga are not tried.
const WAYS_MAX: usize = 50_000;

const NOTHING: &str = "nothing";

/// So many inputs may come one after another of which nothing was told.
const SILENT_MAX: u8 = 6;

/// Looks for a way through a saga on which the participant tells exactly what was told.
///
/// What was heard after `settled` may not have been decided when the record ended.
pub fn replay<P: Replay>(
    participant: &P,
    key: &P::Key,
    recorded: &Recorded,
    settled: Option<DateTime<Utc>>,
) -> Outcome {
    let search = Search {
        participant,
        key,
        recorded,
        settled,
        groups: groups(&recorded.told),
        heard: recorded.heard.iter().flatten().map(|event| event.id).collect(),
    };
    let mut seen: HashSet<(Vec<usize>, usize, u8, P::State)> = HashSet::new();
    let mut furthest: Option<((usize, usize, bool), Difference)> = None;
    let mut open = vec![Way {
        read: vec![0; recorded.heard.len()],
        group: 0,
        silent: 0,
        state: P::State::default(),
        steps: Vec::new(),
        inferred: 0,
    }];
    while let Some(way) = open.pop() {
        if !seen.insert((way.read.clone(), way.group, way.silent, way.state.clone())) {
            continue;
        }
        if seen.len() > WAYS_MAX {
            return Outcome::Undecided;
        }
        if search.is_end(&way) {
            let all = u64::try_from(search.groups.len()).unwrap_or(u64::MAX);
            return Outcome::Same {
                recorded: all - way.inferred,
                inferred: way.inferred,
            };
        }
        for tried in search.steps(&way) {
            match tried {
                Ok(next) => open.push(next),
                Err(difference) => {
                    // Where something was told, it says more than where something might have been.
                    let so_far = (way.group, way.read.iter().sum(), difference.then != NOTHING);
                    if furthest.as_ref().is_none_or(|(known, _)| *known < so_far) {
                        furthest = Some((so_far, difference));
                    }
                }
            }
        }
    }
    let nowhere = || Difference {
        before: Vec::new(),
        state: format!("{:?}", P::State::default()),
        came: "nothing that this build knows of".to_owned(),
        then: names(&recorded.told),
        now: NOTHING.to_owned(),
    };
    Outcome::Differs(Box::new(
        furthest.map_or_else(nowhere, |(_, difference)| difference),
    ))
}

struct Search<'r, P: Replay> {
    participant: &'r P,
    key: &'r P::Key,
    recorded: &'r Recorded,
    settled: Option<DateTime<Utc>>,
    /// What was told, by its cause.
    groups: Vec<&'r [Told]>,
    heard: HashSet<Uuid>,
}

/// How far a way has come.
struct Way<S> {
    /// By topic, how many events.
    read: Vec<usize>,
    /// How many groups of events were told.
    group: usize,
    /// How many unrecorded inputs came since of which nothing was told.
    silent: u8,
    state: S,
    steps: Vec<String>,
    inferred: u64,
}

/// What came, for the story.
struct Came<'r> {
    what: String,
    id: Uuid,
    at: Option<DateTime<Utc>>,
    /// What was told of it, if that is known.
    then: &'r [Told],
}

impl<'r, P: Replay> Search<'r, P> {
    /// Everything was told, and everything was heard that had to be.
    fn is_end(&self, way: &Way<P::State>) -> bool {
        let unread = self.recorded.heard.iter().zip(&way.read);
        way.group == self.groups.len()
            && unread
                .flat_map(|(events, read)| &events[*read..])
                .all(|event| self.settled.is_some_and(|settled| event.at >= Some(settled)))
    }

    /// Every step that may come next: it leads on, or it is told otherwise.
    fn steps(&self, way: &Way<P::State>) -> Vec<Result<Way<P::State>, Difference>> {
        let mut steps = Vec::new();
        let group: &'r [Told] = self.groups.get(way.group).copied().unwrap_or_default();
        let cause = group.first().and_then(|event| event.cause);
        let is_heard = cause.is_some_and(|cause| self.heard.contains(&cause));

        // Last in, first out: inputs that nobody recorded are tried when nothing else leads on.
        if way.silent < SILENT_MAX {
            for input in self.participant.unrecorded(self.key, &way.state, &[]) {
                let came = Came {
                    what: inferred(&input),
                    id: Uuid::nil(),
                    at: None,
                    then: &[],
                };
                // That it might have come and did not is no difference.
                if let Ok(mut next) = self.step(way, input, &came)
                    && next.state != way.state
                {
                    next.silent = way.silent + 1;
                    steps.push(Ok(next));
                }
            }
        }
        for (topic, events) in self.recorded.heard.iter().enumerate() {
            let Some(event) = events.get(way.read[topic]) else {
                continue;
            };
            let came = Came {
                what: format!("{} ({})", event.name, event.place),
                id: event.id,
                at: event.at,
                then: if cause == Some(event.id) { group } else { &[] },
            };
            let read = |mut next: Way<P::State>| {
                next.read[topic] += 1;
                next
            };
            let data = serde_json::to_vec(&event.data).unwrap_or_default();
            steps.push(match P::Input::from_event(&event.name, event.version, &data) {
                Ok(Some(input)) => self.step(way, input, &came).map(read),
                Ok(None) => Ok(read(way.again())),
                Err(error) => Err(self.difference(way, &came, format!("it cannot be read: {error}"))),
            });
        }
        if !group.is_empty() && !is_heard {
            let inputs = self.participant.unrecorded(self.key, &way.state, group);
            let none = inputs.is_empty();
            let (mut leads_on, mut otherwise) = (Vec::new(), None);
            for input in inputs {
                let came = Came {
                    what: inferred(&input),
                    id: cause.unwrap_or_default(),
                    at: group[0].at,
                    then: group,
                };
                match self.step(way, input, &came) {
                    Ok(mut next) => {
                        next.inferred += 1;
                        leads_on.push(Ok(next));
                    }
                    // The first guess is the best.
                    Err(difference) => otherwise = otherwise.or(Some(Err(difference))),
                }
            }
            steps.extend(leads_on.into_iter().rev());
            steps.extend(otherwise);
            if none {
                let came = Came {
                    what: "a command, a timer or an answer that is in no topic".to_owned(),
                    id: Uuid::nil(),
                    at: None,
                    then: group,
                };
                let now = "nothing can come in this state that would lead to it".to_owned();
                steps.push(Err(self.difference(way, &came, now)));
            }
        }
        steps
    }

    fn step(
        &self,
        way: &Way<P::State>,
        input: P::Input,
        came: &Came<'r>,
    ) -> Result<Way<P::State>, Difference> {
        let find = |key: P::SharedKey| {
            let row = self.participant.row(&key, came.then);
            (key, row)
        };
        let touched = self.participant.touches(&way.state, &input).into_iter().map(find);
        let read = self.participant.reads(&way.state, &input).into_iter().map(find);
        let mut rows = Rows::new(touched.collect::<Vec<_>>()).reading(read.collect::<Vec<_>>());
        let at = At {
            input,
            id: came.id,
            now: came.at.unwrap_or_default(),
        };
        let decision = self
            .participant
            .decide(way.state.clone(), &mut rows.view(), at)
            .map_err(|fault| self.difference(way, came, format!("the key is parked: {fault}")))?;
        if let Some(Err(refusal)) = &decision.reply {
            return Err(self.difference(way, came, format!("it is refused: {refusal}")));
        }
        let mut told = Vec::new();
        let mut others = Vec::new();
        for output in &decision.outputs {
            match output.emission() {
                Ok(Emission::Event {
                    name, schema, data, ..
                }) => told.push((name, schema, serde_json::from_slice(&data).unwrap_or_default())),
                Ok(Emission::Effect { kind, .. }) => others.push(format!("does {kind}")),
                Ok(Emission::Timer { name, .. }) => others.push(format!("moves timer {name}")),
                Err(error) => {
                    return Err(self.difference(
                        way,
                        came,
                        format!("{} is no JSON: {error}", output.spec().name),
                    ));
                }
            }
        }
        if !is_same(&told, came.then) {
            let mut now: Vec<String> = told
                .iter()
                .map(|(name, _, data): &(_, _, Value)| format!("{name} {data}"))
                .collect();
            now.extend(others);
            let now = if now.is_empty() {
                NOTHING.to_owned()
            } else {
                now.join(", ")
            };
            return Err(self.difference(way, came, now));
        }
        let mut next = way.again();
        next.state = decision.state;
        if !came.then.is_empty() {
            next.group += 1;
            next.silent = 0;
        }
        next.steps.push(format!("{} → {}", came.what, names(came.then)));
        Ok(next)
    }

    fn difference(&self, way: &Way<P::State>, came: &Came<'_>, now: String) -> Difference {
        let then = came
            .then
            .iter()
            .map(|event| format!("{} {}", event.name, event.data));
        Difference {
            before: way.steps.clone(),
            state: format!("{:?}", way.state),
            came: came.what.clone(),
            then: if came.then.is_empty() {
                NOTHING.to_owned()
            } else {
                then.collect::<Vec<_>>().join(", ")
            },
            now,
        }
    }
}

impl<S: Clone> Way<S> {
    fn again(&self) -> Self {
        Self {
            read: self.read.clone(),
            group: self.group,
            silent: self.silent,
            state: self.state.clone(),
            steps: self.steps.clone(),
            inferred: self.inferred,
        }
    }
}

/// Events of one decision stand behind each other and have the same cause.
fn groups(told: &[Told]) -> Vec<&[Told]> {
    told.chunk_by(|one, next| one.cause.is_some() && one.cause == next.cause)
        .collect()
}

/// Whether today's events say all that was told. They may say more: a new field is no difference, nor is a newer
/// version, which older readers are brought to by an upcaster.
fn is_same(now: &[(&str, &str, Value)], then: &[Told]) -> bool {
    now.len() == then.len()
        && now.iter().zip(then).all(|((name, schema, data), then)| {
            *name == then.name
                && (crate::envelope::schema_version(schema) != Some(then.version) || says(data, &then.data))
        })
}

fn says(now: &Value, then: &Value) -> bool {
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => then
            .iter()
            .all(|(name, value)| now.get(name).is_some_and(|now| says(now, value))),
        (Value::Array(now), Value::Array(then)) => {
            now.len() == then.len() && now.iter().zip(then).all(|(now, then)| says(now, then))
        }
        (now, then) => now == then,
    }
}

fn names(told: &[Told]) -> String {
    if told.is_empty() {
        return "nothing told".to_owned();
    }
    let names: Vec<&str> = told.iter().map(|event| event.name.as_str()).collect();
    names.join(", ")
}

fn inferred<I: Inputs>(input: &I) -> String {
    let spec = input.spec();
    let kind = match spec.kind {
        InputKind::Event { .. } => "event",
        InputKind::Command => "command",
        InputKind::Timer => "timer",
        InputKind::Result => "answer to",
    };
    format!("{kind} {} (inferred)", spec.name)
}
