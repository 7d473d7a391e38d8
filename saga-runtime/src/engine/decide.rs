//! The decisions of a batch, in memory: no database, no broker, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};
use saga_core::{At, Decision, Emission, Fault, Outputs, Participant, Rows, Timer};
use uuid::Uuid;

use crate::engine::batch::{Entry, Origin, What};
use crate::error::panic_words;
use crate::outbox::{Headers, NewEvent};
use crate::store::Saved;
use crate::trace;

/// What a batch works on: everything that was loaded under lock.
#[derive(Debug)]
pub(crate) struct Loaded<P: Participant> {
    pub(crate) sagas: BTreeMap<P::Key, P::State>,
    pub(crate) shared: Rows<P::SharedKey, P::Shared>,
    /// Keys that are parked: their messages wait.
    pub(crate) parked: BTreeSet<String>,
    /// Entries that count no more: a timer that was cancelled, an answer under an old claim, a command
    /// that was answered before, a message that the inbox knows.
    pub(crate) void: BTreeSet<usize>,
}

/// What is to be written, and how far it goes.
#[derive(Debug)]
pub(crate) struct Decided<P: Participant> {
    /// Entries `0..upto` are in it. The rest needs rows that were not loaded.
    pub(crate) upto: usize,
    pub(crate) sagas: Vec<Saved<P>>,
    pub(crate) shared: Vec<(P::SharedKey, P::Shared)>,
    pub(crate) events: Vec<NewEvent>,
    pub(crate) effects: Vec<NewEffect>,
    pub(crate) timers: BTreeMap<(String, &'static str), TimerChange>,
    pub(crate) parks: Vec<Park>,
    pub(crate) replies: Vec<(usize, Reply<P>)>,
    /// How many sagas began and ended, for metrics.
    pub(crate) began: u64,
    pub(crate) ended: u64,
}

/// What the caller of a command hears.
#[derive(Debug)]
pub(crate) enum Reply<P: Participant> {
    Done(P::Reply),
    Refused(P::Refusal),
    /// Its saga is parked.
    Parked(String),
    /// It cannot be decided or written. Why is for operators: it may be the database's words.
    GivenUp(String),
}

// By hand: a derive would ask the participant itself to be Clone.
impl<P: Participant> Clone for Reply<P> {
    fn clone(&self) -> Self {
        match self {
            Self::Done(reply) => Self::Done(reply.clone()),
            Self::Refused(refusal) => Self::Refused(refusal.clone()),
            Self::Parked(why) => Self::Parked(why.clone()),
            Self::GivenUp(why) => Self::GivenUp(why.clone()),
        }
    }
}

#[derive(Debug)]
pub(crate) struct NewEffect {
    pub(crate) id: Uuid,
    pub(crate) saga: String,
    pub(crate) kind: &'static str,
    pub(crate) payload: Vec<u8>,
    pub(crate) traceparent: Option<String>,
}

#[derive(Debug)]
pub(crate) enum TimerChange {
    Set {
        id: Uuid,
        /// From the moment when it is written.
        after_us: i64,
        traceparent: Option<String>,
    },
    Cancel,
}

/// A record that goes to the quarantine: with a reason if it is the culprit, without if it waits behind one.
#[derive(Debug)]
pub(crate) struct Park {
    pub(crate) entry: usize,
    pub(crate) key: String,
    pub(crate) reason: Option<String>,
}

/// Decides `entries` in their order.
///
/// A row that is missing ends the batch before that entry, unless it is the first one: then `touches` did not
/// name what `decide` asked for, which no second try would mend.
pub(crate) fn decide<P: Participant>(
    participant: &P,
    prefix: &str,
    entries: &[Entry<P>],
    mut loaded: Loaded<P>,
    now: DateTime<Utc>,
) -> Decided<P> {
    let mut out = Decided {
        upto: entries.len(),
        sagas: Vec::new(),
        shared: Vec::new(),
        events: Vec::new(),
        effects: Vec::new(),
        timers: BTreeMap::new(),
        parks: Vec::new(),
        replies: Vec::new(),
        began: 0,
        ended: 0,
    };
    // A key that is replayed is not parked until one of its messages turns out to be still wrong.
    for entry in entries
        .iter()
        .filter(|entry| matches!(entry.origin, Origin::Parked { .. }))
    {
        if let Some(key) = entry.quarantine_key() {
            loaded.parked.remove(&key);
        }
    }
    let mut changed: BTreeMap<P::Key, bool> = BTreeMap::new();
    for (i, entry) in entries.iter().enumerate() {
        if loaded.void.contains(&i) {
            continue;
        }
        let input = match &entry.what {
            What::Pass => continue,
            What::Undecodable { reason } => {
                park(&mut out, &mut loaded.parked, i, entry, Some(reason.clone()));
                continue;
            }
            What::Input { input, .. } => input,
        };
        if entry
            .quarantine_key()
            .is_some_and(|key| loaded.parked.contains(&key))
        {
            park(&mut out, &mut loaded.parked, i, entry, None);
            continue;
        }
        if let Origin::Timer { saga, name } = &entry.origin
            && out.timers.keys().any(|(of, timer)| of == saga && timer == name)
        {
            // An earlier entry cancelled or moved it. What is set now has another id and fires by itself.
            continue;
        }
        let before = entry.saga().map_or_else(P::State::default, |key| {
            loaded.sagas.get(key).cloned().unwrap_or_default()
        });
        let span = trace::process_span(P::NAME, entry);
        let _in_span = span.enter();
        let traceparent = trace::outgoing(entry);
        let at = At {
            input: input.clone(),
            id: entry.id,
            now,
        };
        let mut view = loaded.shared.view();
        let decision = match guarded(|| participant.decide(before.clone(), &mut view, at)) {
            Ok(decision) => decision,
            Err(Fault::NotLoaded) if i > 0 => {
                out.upto = i;
                break;
            }
            Err(Fault::NotLoaded) => {
                let reason = "decide asked for a shared row that touches and reads did not name, or wrote one that touches did not".to_owned();
                park(&mut out, &mut loaded.parked, i, entry, Some(reason));
                continue;
            }
            Err(Fault::Impossible(why)) => {
                park(&mut out, &mut loaded.parked, i, entry, Some(why.into_owned()));
                continue;
            }
        };
        if let Some(Err(refusal)) = decision.reply {
            // A refusal leaves nothing behind, whatever else the decision says.
            out.replies.push((i, Reply::Refused(refusal)));
            continue;
        }
        let put = match encode::<P>(entry, prefix, &decision, traceparent.as_deref(), now) {
            Ok(put) => put,
            Err(why) => {
                park(&mut out, &mut loaded.parked, i, entry, Some(why));
                continue;
            }
        };
        view.keep();
        out.events.extend(put.events);
        out.effects.extend(put.effects);
        out.timers.extend(put.timers);
        if let Some(Ok(reply)) = decision.reply {
            out.replies.push((i, Reply::Done(reply)));
        }
        if let Some(key) = entry.saga()
            && decision.state != before
        {
            let ended = participant.is_ended(&decision.state);
            out.began += u64::from(before == P::State::default());
            out.ended += u64::from(ended && !participant.is_ended(&before));
            changed.insert(key.clone(), ended);
            loaded.sagas.insert(key.clone(), decision.state);
        }
    }
    out.shared = loaded.shared.changed();
    out.sagas = changed
        .into_iter()
        .filter_map(|(key, ended)| loaded.sagas.remove(&key).map(|state| Saved { key, state, ended }))
        .collect();
    out
}

/// A panic in `decide` (an overflow, an index) is a fault of this input, not of the whole batch.
fn guarded<T>(decide: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(decide)).unwrap_or_else(|panic| {
        let what = panic_words(panic.as_ref());
        Err(Fault::impossible(format!("decide panicked: {what}")))
    })
}

fn park<P: Participant>(
    out: &mut Decided<P>,
    parked: &mut BTreeSet<String>,
    i: usize,
    entry: &Entry<P>,
    reason: Option<String>,
) {
    if matches!(entry.origin, Origin::Command(_)) {
        let reply = match reason {
            Some(why) => Reply::GivenUp(why),
            None => Reply::Parked("an earlier message of this saga is parked".to_owned()),
        };
        out.replies.push((i, reply));
        // A command that cannot be decided harms nobody but its caller, who is told.
        return;
    }
    if let Some(key) = entry.quarantine_key() {
        parked.insert(key.clone());
        out.parks.push(Park {
            entry: i,
            key,
            reason,
        });
    }
}

struct Put {
    events: Vec<NewEvent>,
    effects: Vec<NewEffect>,
    timers: Vec<((String, &'static str), TimerChange)>,
}

fn encode<P: Participant>(
    entry: &Entry<P>,
    prefix: &str,
    decision: &Decision<P>,
    traceparent: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Put, String> {
    let saga = entry.saga().map(ToString::to_string);
    let mut put = Put {
        events: Vec::new(),
        effects: Vec::new(),
        timers: Vec::new(),
    };
    let mut ordinals: BTreeMap<&'static str, usize> = BTreeMap::new();
    for output in &decision.outputs {
        let emission = output
            .emission()
            .map_err(|error| format!("{} cannot be encoded: {error}", output.spec().name))?;
        let name = output.spec().name;
        let ordinal = ordinals.entry(name).or_default();
        let id = saga_core::id::of_output(P::NAME, saga.as_deref().unwrap_or(""), entry.id, name, *ordinal);
        *ordinal += 1;
        match emission {
            Emission::Event {
                topic,
                name,
                schema,
                key,
                data,
            } => {
                let correlation = saga.as_deref().unwrap_or(&key);
                let headers = Headers::of_event(schema, correlation, entry.id, traceparent);
                put.events.push(NewEvent {
                    id,
                    topic: format!("{prefix}{topic}"),
                    r#type: name.to_owned(),
                    payload: Some(data),
                    headers,
                    key,
                });
            }
            Emission::Effect { kind, data } => {
                let saga = saga
                    .clone()
                    .ok_or_else(|| format!("effect {kind} belongs to no saga"))?;
                put.effects.push(NewEffect {
                    id,
                    saga,
                    kind,
                    payload: data,
                    traceparent: traceparent.map(str::to_owned),
                });
            }
            Emission::Timer { name, timer } => {
                let saga = saga
                    .clone()
                    .ok_or_else(|| format!("timer {name} belongs to no saga"))?;
                let change = match timer {
                    Timer::Cancel => TimerChange::Cancel,
                    Timer::In(after) => TimerChange::Set {
                        id,
                        after_us: chrono::Duration::from_std(after)
                            .ok()
                            .filter(|after| now.checked_add_signed(*after).is_some())
                            .and_then(|after| after.num_microseconds())
                            .ok_or_else(|| format!("timer {name} is further away than a calendar reaches"))?,
                        traceparent: traceparent.map(str::to_owned),
                    },
                };
                put.timers.push(((saga, name), change));
            }
        }
    }
    Ok(put)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
